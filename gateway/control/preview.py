"""What a student would have served: the preview of its certificate over the pairs of some days."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Query, Response
from sqlmodel import Session

from gateway.control.certified import certificate_view, void_by_slice
from gateway.control.context import Control, ControlPart
from gateway.control.errors import Code, Refused
from gateway.control.evidence import catching_up
from gateway.control.manifests import manifest_of
from gateway.control.measured import AskedPart, SliceName, measured
from gateway.control.routes import answer
from ledger.artifacts import Manifest
from ledger.configuration import TaskSection
from ledger.control_file import transaction
from ledger.slices import OVERALL
from ledger.tables import StudentRow
from monitor.preview import SHARES, preview_of

MAX_SHARES = 10

TrafficShare = Annotated[float, Query(gt=0, le=1)]


def show_preview(
    asked: AskedPart,
    control: ControlPart,
    slice_name: SliceName = OVERALL,
    share: Annotated[list[TrafficShare] | None, Query(max_length=MAX_SHARES)] = None,
) -> Response:
    with transaction(control.reading) as session:
        found = measured(session, control, asked)
        if isinstance(found, Refused):
            return answer(found)
        if found.artifact is None:
            return answer(Refused(Code.UNKNOWN, f"task {asked.task} has no student that answers yet"))
        if found.student is None and not found.sums:
            return answer(Refused(Code.UNKNOWN, f"task {asked.task} has no student {found.artifact!r}"))
        thresholds, void, problem = _certified(session, control, found.task, found.student)
        late = catching_up(session, asked.task)
    preview = preview_of(found.sums, found.task, thresholds, void, slice_name, share or SHARES).plain()
    behind = [rule.name for rule in found.task.rules if rule.decides_who_serves and rule.name in late]
    preview["cannot_say"] = [*([problem] if problem else []), *preview["cannot_say"], *_behind(behind)]
    return answer(found.document(**preview))


def _certified(
    session: Session, control: Control, task: TaskSection, student: StudentRow | None
) -> tuple[dict[str, float], dict[str, str], str | None]:
    """Thresholds that hold, why others are void, and what is wrong with the student's files."""
    if student is None:
        return {}, {}, None  # a remote student: no digest vouches for it, so it has no certificate
    manifest = manifest_of(control.data_directory, student)
    if not isinstance(manifest, Manifest):
        return {}, {}, f"the certificate cannot be read: {manifest}"
    view: dict[str, Any] = certificate_view(session, task, student.artifact, manifest)
    return view["thresholds"], void_by_slice(view), None


def _behind(rules: list[str]) -> Iterator[str]:
    if rules:
        yield (
            f"the monitor still measures slice rule {', '.join(rules)} over the past, so its slices hold fewer pairs"
            " than there were"
        )
