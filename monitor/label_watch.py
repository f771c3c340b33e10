"""What is kept of the labels of each slice: the null that the first ones give, and how many came for how many pairs.

The clock is the order in which labels arrive. The first `trigger.reference_pairs` of a slice, and those of the tick
with its very first ones, are its reference; bets begin with the tick after these.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson
from sqlmodel import Session, col, delete

from ledger.alarms import LABELS_MOVED
from ledger.artifacts import GateReport
from ledger.configuration import TriggerSection
from ledger.harms import Harm
from ledger.tables import AlarmRow, LabelWatchRow
from monitor.arrivals import NO_FLOW, Flow, joined, moved
from monitor.baseline import Null
from monitor.label_evidence import Labels
from monitor.regret import (
    NOTHING_LEARNT,
    Learnt,
    counts_for,
    learnt,
    limit_for,
    losses_for,
    null_of_labels,
)
from monitor.trigger import Slice

HISTORY = 64  # ticks with labels of which the arrivals are kept apart
MOST_SLICES = 2000  # of a task

_KEPT = "SELECT artifact, slice, state FROM label_watch WHERE task = ?"
_KEEP = "INSERT OR REPLACE INTO label_watch (task, artifact, slice, state) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class LabelWatch:
    """Of one slice of one student."""

    learnt: Learnt = NOTHING_LEARNT
    slices: int = 1  # among which the reference's error probability was divided
    is_learnt: bool = False
    limit: int = 1  # a power of two that no weight exceeded so far
    before: Flow = NO_FLOW  # what came with the first labels, and with later ones before `flows`
    waiting: int = 0  # pairs since the last label
    flows: tuple[tuple[int, Flow], ...] = ()  # by tick with labels, with the start of its earliest exchange


@dataclass(frozen=True, slots=True)
class Bet:
    """What one tick shows a detector of regret."""

    null: Null
    losses: tuple[float, ...]
    counts: tuple[int, ...]  # none at all where no label came, or one that was heavier than any before
    at_us: int


@dataclass(frozen=True, slots=True)
class LabelTick:
    """One task's slices after a tick, and the bets that may be taken in it."""

    before: Mapping[Slice, LabelWatch] = field(default_factory=dict)
    after: Mapping[Slice, LabelWatch] = field(default_factory=dict)
    bets: Mapping[Slice, Bet] = field(default_factory=dict)

    def moved(self, of_slice: Slice, change_us: int | None) -> str | None:
        """Why an alarm about what came since `change_us` is refused; None where nothing speaks against it."""
        watch = self.after[of_slice]
        begin = max((place for place, (at_us, _) in enumerate(watch.flows) if at_us == change_us), default=0)
        return moved(watch.before, joined(_flows(watch.flows[begin:])))


def advanced(
    session: Session,
    task: str,
    trigger: TriggerSection,
    answering: Mapping[str, GateReport | None],
    labels: Mapping[Slice, Labels],
    pairs: Mapping[Slice, int],
    now_us: int,
) -> LabelTick:
    """One tick of a task's labels; nothing is written yet. A slice begins with its first label."""
    watches = Harm.REGRET in trigger.harms
    _forget_others(session, task, answering if watches else ())
    if not watches:
        return LabelTick()
    before = kept(session, task)
    new = [of_slice for of_slice in sorted(labels) if of_slice not in before and of_slice[0] in answering]
    after, bets = dict(before), {}
    for of_slice in (*before, *new[: max(0, MOST_SLICES - len(before))]):
        watch = before.get(of_slice) or LabelWatch(slices=_slices(answering[of_slice[0]]))
        found = labels.get(of_slice)
        after[of_slice] = _after(watch, found, pairs.get(of_slice, 0), trigger)
        if watch.is_learnt:
            bets[of_slice] = _bet(watch, after[of_slice], found, trigger.tolerance, now_us)
    return LabelTick(before, after, bets)


def keep(session: Session, task: str, tick: LabelTick, alarms: Sequence[AlarmRow]) -> None:
    """Write what changed. After an alarm, what came before it is what the next one is compared with."""
    after = dict(tick.after)
    for alarm in alarms:
        if alarm.harm == Harm.REGRET and (alarm.artifact, alarm.slice) in after:
            of_slice = alarm.artifact, alarm.slice
            after[of_slice] = _after_alarm(after[of_slice], alarm.decision == LABELS_MOVED)
    rows = [
        (task, *of_slice, orjson.dumps(plain(watch)).decode())
        for of_slice, watch in after.items()
        if tick.before.get(of_slice) != watch
    ]
    if rows:
        session.connection().exec_driver_sql(_KEEP, rows)


def kept(session: Session, task: str) -> dict[Slice, LabelWatch]:
    rows = session.connection().exec_driver_sql(_KEPT, (task,))
    return {(artifact, name): _read(orjson.loads(state)) for artifact, name, state in rows}


def plain(watch: LabelWatch) -> dict[str, Any]:
    """What is stored; orjson takes no named tuples."""
    flows = [(at_us, tuple(flow)) for at_us, flow in watch.flows]
    return asdict(watch) | {"learnt": tuple(watch.learnt), "before": tuple(watch.before), "flows": flows}


def _read(state: Mapping[str, Any]) -> LabelWatch:
    flows = tuple((at_us, Flow(*flow)) for at_us, flow in state["flows"])
    parts = {"learnt": Learnt(*state["learnt"]), "before": Flow(*state["before"]), "flows": flows}
    return LabelWatch(**(dict(state) | parts))


def _after(watch: LabelWatch, found: Labels | None, pairs: int, trigger: TriggerSection) -> LabelWatch:
    if found is None:
        return replace(watch, waiting=watch.waiting + pairs)
    flow = joined((found.flow, Flow(pairs=watch.waiting + pairs)))
    is_first = not watch.learnt.weight  # nobody counted the pairs that its labels are about
    watch = replace(watch, waiting=0, limit=limit_for(found.regrets, watch.limit))
    if not watch.is_learnt:
        reference = learnt(watch.learnt, found.regrets)
        before = watch.before if is_first else joined((watch.before, flow))
        enough = min(reference.effective, before.effective) >= trigger.reference_pairs
        return replace(watch, before=before, learnt=reference, is_learnt=enough)
    return _shortened(replace(watch, flows=(*watch.flows, (found.at_us, flow))))


def _bet(watch: LabelWatch, after: LabelWatch, found: Labels | None, tolerance: float, now_us: int) -> Bet:
    null = null_of_labels(watch.learnt, watch.slices, tolerance)
    losses = losses_for(null.m0, after.limit)
    if found is None or after.limit > watch.limit:  # the limit has to be fixed before the weights are seen
        return Bet(null, losses, (0,) * len(losses), now_us)
    return Bet(null, losses, counts_for(found.regrets, after.limit), found.at_us)


def _after_alarm(watch: LabelWatch, was_refused: bool) -> LabelWatch:
    """What came while the share moved is no norm for later."""
    if was_refused:
        return replace(watch, flows=(), waiting=0)
    return replace(watch, before=joined((watch.before, *_flows(watch.flows))), flows=())


def _shortened(watch: LabelWatch) -> LabelWatch:
    if len(watch.flows) <= HISTORY:
        return watch
    old, recent = watch.flows[: HISTORY // 2], watch.flows[HISTORY // 2 :]
    return replace(watch, before=joined((watch.before, *_flows(old))), flows=recent)


def _flows(entries: Sequence[tuple[int, Flow]]) -> list[Flow]:
    return [flow for _, flow in entries]


def _slices(report: GateReport | None) -> int:
    return max(1, len(report.verdicts)) if report is not None else 1


def _forget_others(session: Session, task: str, answering: Collection[str]) -> None:
    """As with detectors: a student that stopped answering begins anew, and so do all when labels are not watched."""
    others = col(LabelWatchRow.artifact).not_in(list(answering))
    session.exec(delete(LabelWatchRow).where(col(LabelWatchRow.task) == task, others))
