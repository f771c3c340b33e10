"""The replayer: sends posts through the gateway as a client would, and their true desks later as labels."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from examples.helpdesk.corpus import Post

CONCURRENCY = 8
AREA_HEADER = "x-product-area"
EXCHANGE_HEADER = "x-stillgate-exchange"
SERVED_BY_HEADER = "x-stillgate-served-by"
LABEL_SHARE = 0.7  # of exchanges whose true desk ever becomes known
LABEL_LAG = 60  # labels come at least so many exchanges late
LABEL_GROUP = 100

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """One post as it was answered."""

    post: Post
    exchange_id: str
    status: int
    served_by: str


@dataclass
class Replayer:
    """Sends posts and remembers which labels are still to be told."""

    gateway: str
    admin: str
    key: str
    seed: int
    sent: list[Sent] = field(default_factory=list)
    _unlabelled: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def send(self, posts: Sequence[Post], progress: Progress | None = None) -> list[Sent]:
        """Send every post, several at a time, and return how each was answered, in the order of the posts."""
        sent = asyncio.run(self._send(posts, progress or (lambda _: None)))
        self.sent += sent
        self._unlabelled += [one for one in sent if self._random.random() < LABEL_SHARE]
        self._tell_labels(keep=LABEL_LAG)
        return sent

    def tell_all_labels(self) -> None:
        """Tell what is still to be told."""
        self._tell_labels(keep=0)

    async def _send(self, posts: Sequence[Post], progress: Progress) -> list[Sent]:
        waiting = iter(enumerate(posts))
        answered: dict[int, Sent] = {}
        limits = httpx.Limits(max_connections=CONCURRENCY)
        async with httpx.AsyncClient(base_url=self.gateway, timeout=60, limits=limits) as client:

            async def one_after_another() -> None:
                for place, post in waiting:
                    answered[place] = await _ask(client, post)
                    progress(1)

            async with asyncio.TaskGroup() as senders:
                for _ in range(CONCURRENCY):
                    senders.create_task(one_after_another())
        return [answered[place] for place in range(len(posts))]

    def _tell_labels(self, keep: int) -> None:
        """Out of order, as labels come; the newest ones are kept back."""
        ready = self._unlabelled[: max(0, len(self._unlabelled) - keep)]
        self._unlabelled = self._unlabelled[len(ready) :]
        self._random.shuffle(ready)
        with httpx.Client(base_url=self.admin, headers=_bearer(self.key), timeout=30) as client:
            for group in _groups(ready):
                labels = [{"exchange_id": one.exchange_id, "label": one.post.desk} for one in group]
                client.post("/api/v1/labels", json={"labels": labels}).raise_for_status()


async def _ask(client: httpx.AsyncClient, post: Post) -> Sent:
    headers = {AREA_HEADER: post.area}
    response = await client.post("/predict", json={"inputs": post.text}, headers=headers)
    return Sent(
        post,
        response.headers.get(EXCHANGE_HEADER, ""),
        response.status_code,
        response.headers.get(SERVED_BY_HEADER, ""),
    )


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _groups(sent: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
    for start in range(0, len(sent), LABEL_GROUP):
        yield sent[start : start + LABEL_GROUP]
