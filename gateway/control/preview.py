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
from gateway.control.routes import Microseconds, answer, newest_answering
from ledger.artifacts import Manifest
from ledger.configuration import TaskSection
from ledger.control_file import transaction
from ledger.slices import OVERALL
from ledger.tables import StudentRow
from monitor.preview import SHARES, preview_of
from monitor.reports import merged_sums

MAX_SHARES = 10

TrafficShare = Annotated[float, Query(gt=0, le=1)]


def show_preview(
    task: str,
    control: ControlPart,
    artifact: str | None = None,
    slice_name: Annotated[str, Query(alias="slice", max_length=200)] = OVERALL,
    share: Annotated[list[TrafficShare] | None, Query(max_length=MAX_SHARES)] = None,
    since_us: Microseconds = None,
    until_us: Microseconds = None,
) -> Response:
    section = control.task(task)
    if isinstance(section, Refused):
        return answer(section)
    with transaction(control.reading) as session:
        chosen = artifact or newest_answering(session, task)
        if chosen is None:
            return answer(Refused(Code.UNKNOWN, f"task {task} has no student that answers yet"))
        sums = merged_sums(session, task, chosen, since_us, until_us)
        student = session.get(StudentRow, chosen)
        if student is None and not sums:
            return answer(Refused(Code.UNKNOWN, f"task {task} has no student {chosen!r}"))
        thresholds, void, problem = _certified(session, control, section, student)
        late = catching_up(session, task)
    preview = preview_of(sums, section, thresholds, void, slice_name, share or SHARES).plain()
    behind = [rule.name for rule in section.rules if rule.decides_who_serves and rule.name in late]
    preview["cannot_say"] = [*([problem] if problem else []), *preview["cannot_say"], *_behind(behind)]
    return answer({"task": task, "artifact": chosen, "since_us": since_us, "until_us": until_us, **preview})


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
