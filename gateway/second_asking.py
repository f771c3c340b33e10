"""Asks the teacher a drawn share of its requests a second time, off the path: how often it disagrees with itself.

What is drawn lies within what the shadow draws, by the same keyed hash, so that a student has answered it too.
"""

import asyncio

from gateway.amending import amended_body
from gateway.audit import AuditRequest, Audits
from gateway.dialects.dialect import Asked
from gateway.passage import Passage, Request
from gateway.routes import NO_TASK
from gateway.sampling import is_drawn
from ledger.exchange import Outcome, ServedBy


class SecondAskings:
    """Lives in the event loop."""

    def __init__(self, gateway: str, key: bytes, askings: Audits) -> None:
        self._gateway, self._key, self._askings = gateway, key, askings

    def offer(self, passage: Passage, request: Request) -> None:
        """A request that the teacher has answered; if it is drawn, it is asked again once the response has left."""
        route = passage.route
        share = route.task.extra_calls.second_share
        if not share or route.name == NO_TASK or passage.sequence is None:
            return
        if is_drawn(self._key, self._gateway, passage.sequence, share) and _may_be_asked(passage, request):
            asyncio.get_running_loop().call_soon(self._start, passage, request, passage.sequence, share)

    def _start(self, passage: Passage, request: Request, sequence: int, share: float) -> None:
        asked = passage.route.read_request(request.body)
        if not isinstance(asked, Asked):
            return  # no pair could come of it
        amendment = amended_body(passage, request)
        self._askings.start(
            AuditRequest(
                sequence,
                passage.route,
                asked,
                request.method,
                request.target,
                request.head.upstream,
                request.body if amendment is None else amendment.body,
                share,
            )
        )


def _may_be_asked(passage: Passage, request: Request) -> bool:
    """Whether it was answered as a whole, and can be read."""
    return (
        request.method == "POST"
        and passage.served_by is ServedBy.TEACHER
        and passage.outcome is Outcome.COMPLETE
        and 200 <= passage.status < 300
        and not passage.request.too_large
        and not passage.response.too_large
    )
