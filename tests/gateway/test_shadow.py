"""The shadow queue in front of a student on a real socket: bounds, groups and every reason for a drop."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.coverage import Coverage
from gateway.record import Recorder, RecorderLimits
from gateway.shadow import GROUP_BYTES, GROUP_INPUTS, MAX_OUTSTANDING, Asked, Shadow, ShadowDrop, ShadowLimits
from gateway.writer import Committed
from ledger.exchange import Answer
from ledger.observation import Observation, ObservationError
from student.client import StudentClient
from student.wire import Refusal
from tests.gateway.students import WireStudent, agree, keep_silent, not_a_number, student_at

ROOMY = ShadowLimits(10_000, 10**7, 5.0)


@pytest.fixture
def student(tmp_path: Path) -> Iterator[WireStudent]:
    student = WireStudent()
    with student_at(tmp_path / "s.sock", student):
        yield student


class Bench:
    """A shadow with a recorder behind it; `drops` counts by reason, `answers` are those that were written."""

    def __init__(self, directory: Path, limits: ShadowLimits = ROOMY, record_count: int = 10_000) -> None:
        self.drops: Counter[ShadowDrop] = Counter()
        self.answers: list[Answer] = []
        self.recorder = Recorder(directory, "g0", RecorderLimits(record_count, 10**7), self._committed)
        self.recorder.start()
        self.client = StudentClient(directory / "s.sock")
        self.shadow = Shadow(lambda _: self.client, limits, self.recorder, self._dropped)
        self.coverage = Coverage()

    def queue(
        self,
        count: int,
        texts: tuple[str, ...] = ("billing",),
        first: int = 0,
        artifact: str = "s-1",
        share: float = 1.0,
    ) -> None:
        for sequence in range(first, first + count):
            ticket = self.coverage.eligible("desk", artifact, ("all",))
            self.shadow.submit(Asked(artifact, 3, sequence, texts, share, ticket))

    def submit(self, count: int, **changes: Any) -> None:
        self.queue(count, **changes)
        self.shadow.start_asking()

    async def connected(self) -> None:
        """The client connects when first asked; the student has seen that by the end."""
        while not self.client.connected:
            await self.client.ask("s-1", ["x"], 1.0)
            await asyncio.sleep(0.01)

    async def until(self, answers: int, drops: int) -> None:
        async with asyncio.timeout(60):
            while len(self.answers) < answers or self.drops.total() < drops:
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Afterwards every exchange has been answered or skipped, for its reason."""
        await self.shadow.close()
        await self.client.close()
        await asyncio.to_thread(self.recorder.stop, 0)
        skipped: Counter[str] = Counter()
        for _, _, student in self.coverage:
            count = student.slices["all"]
            assert count.eligible == count.answered + student.skipped.total()
            skipped += student.skipped
        assert skipped == self.drops

    def _committed(self, committed: Committed) -> None:
        self.answers += committed.answers

    def _dropped(self, reason: ShadowDrop, count: int) -> None:
        self.drops[reason] += count


async def test_waiting_exchanges_travel_together(tmp_path: Path, student: WireStudent) -> None:
    """Many exchanges become few requests, and each gets its own answer."""
    bench = Bench(tmp_path)
    await bench.connected()
    student.asked.clear()
    bench.submit(200)
    bench.submit(1, texts=("shipping", "billing"), first=200)
    await bench.until(answers=201, drops=0)
    await bench.close()
    assert len(student.asked) < 20
    assert max(len(request.texts) for request in student.asked) <= GROUP_INPUTS
    assert [
        answer.exchange_sequence for answer in sorted(bench.answers, key=lambda a: a.exchange_sequence)
    ] == (list(range(201)))
    (pair,) = [answer for answer in bench.answers if answer.exchange_sequence == 200]
    assert [observation.top for observation in pair.observations] == [1, 0]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ShadowLimits(10, 10**7, 5.0), ShadowDrop.QUEUE_FULL_COUNT),
        (ShadowLimits(10_000, 10 * 7 * 4, 5.0), ShadowDrop.QUEUE_FULL_BYTES),
    ],
)
async def test_full_queue(tmp_path: Path, limits: ShadowLimits, reason: ShadowDrop) -> None:
    """Above either bound the newest are dropped, counted by the bound."""
    bench = Bench(tmp_path, limits)
    bench.queue(25)
    assert bench.drops == {reason: 15}
    assert bench.shadow.inputs == 10
    await bench.close()
    assert bench.drops == {reason: 15, ShadowDrop.SHUTDOWN: 10}


async def test_outstanding_requests_are_bounded(tmp_path: Path, student: WireStudent) -> None:
    """A silent student holds a few requests; the others wait, and all of them end at the deadline."""
    student.say = keep_silent
    bench = Bench(tmp_path, ShadowLimits(10_000, 10**7, 0.5))
    await bench.connected()
    student.asked.clear()
    bench.submit(GROUP_INPUTS * (MAX_OUTSTANDING + 2))
    await asyncio.sleep(0)
    assert bench.shadow.inputs == GROUP_INPUTS * 2
    await bench.until(answers=0, drops=GROUP_INPUTS * (MAX_OUTSTANDING + 2))
    await bench.close()
    assert bench.drops == {ShadowDrop.DEADLINE: GROUP_INPUTS * (MAX_OUTSTANDING + 2)}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Refusal.NOT_LOADED, ShadowDrop.NOT_LOADED),
        (Refusal.QUEUE_FULL, ShadowDrop.STUDENT_QUEUE_FULL),
        (Refusal.TOO_LARGE, ShadowDrop.TOO_LARGE),
        (Refusal.FAILED, ShadowDrop.FAILED),
        (Refusal.SHUTTING_DOWN, ShadowDrop.STUDENT_DOWN),
    ],
)
async def test_refusals(tmp_path: Path, student: WireStudent, refusal: Refusal, reason: ShadowDrop) -> None:
    """Every refusal of the student has its reason among the drops."""
    student.say = lambda request: refusal
    bench = Bench(tmp_path)
    await bench.connected()
    bench.submit(3)
    await bench.until(answers=0, drops=3)
    await bench.close()
    assert bench.drops == {reason: 3}


async def test_no_student(tmp_path: Path) -> None:
    """Nobody on the socket: dropped at once as student_down."""
    bench = Bench(tmp_path)
    bench.submit(3)
    await bench.until(answers=0, drops=3)
    await bench.close()
    assert bench.drops == {ShadowDrop.STUDENT_DOWN: 3}


async def test_nan_is_kept_as_an_error(tmp_path: Path, student: WireStudent) -> None:
    """An answer that is no distribution is an error observation, not a drop."""
    student.say = not_a_number
    bench = Bench(tmp_path)
    await bench.connected()
    bench.submit(1)
    await bench.until(answers=1, drops=0)
    await bench.close()
    assert bench.answers[0].observations == (Observation(None, ObservationError.NOT_FINITE),)


async def test_wrong_number_of_observations(tmp_path: Path, student: WireStudent) -> None:
    """A reply that cannot be matched with its texts is dropped as failed."""
    student.say = lambda request: (*agree(request), Observation((1.0, 0.0, 0.0)))  # type: ignore[misc]
    bench = Bench(tmp_path)
    await bench.connected()
    bench.submit(2)
    await bench.until(answers=0, drops=2)
    await bench.close()
    assert bench.drops == {ShadowDrop.FAILED: 2}


async def test_answers_that_find_no_room(tmp_path: Path, student: WireStudent) -> None:
    """An answer that the record queue has no room for is a counted drop."""
    bench = Bench(tmp_path, record_count=0)
    await bench.connected()
    bench.submit(4)
    await bench.until(answers=0, drops=4)
    await bench.close()
    assert bench.drops == {ShadowDrop.RECORD_QUEUE_FULL: 4}


async def test_one_artifact_cannot_fill_the_room_of_another(tmp_path: Path) -> None:
    """While two wait, each line may hold half of the bounds, and both together never more than all of them."""
    bench = Bench(tmp_path, ShadowLimits(20, 10**7, 5.0))
    bench.queue(12)
    bench.queue(12, artifact="s-2")
    assert bench.shadow.inputs == 20
    bench.queue(1)
    assert bench.drops == {ShadowDrop.QUEUE_FULL_COUNT: 5}
    await bench.close()


async def test_a_silent_artifact_holds_up_no_other(tmp_path: Path, student: WireStudent) -> None:
    """While every request to one artifact is unanswered, another one is answered."""
    student.say = lambda request: None if request.artifact == "s-1" else agree(request)
    bench = Bench(tmp_path, ShadowLimits(10_000, 10**7, 2.0))
    await bench.connected()
    bench.submit(GROUP_INPUTS * (MAX_OUTSTANDING + 1))
    bench.submit(3, artifact="s-2")
    await bench.until(answers=3, drops=0)
    assert not bench.drops
    assert {answer.responder for answer in bench.answers} == {"s-2"}
    await bench.close()


async def test_large_texts_travel_in_smaller_groups(tmp_path: Path, student: WireStudent) -> None:
    """A group never becomes too large for a frame because of the company it travels in."""
    bench = Bench(tmp_path, ShadowLimits(10_000, 10**9, 5.0))
    await bench.connected()
    student.asked.clear()
    bench.submit(8, texts=("billing " * (GROUP_BYTES // 4 // 8 // 2),))
    await bench.until(answers=8, drops=0)
    await bench.close()
    assert sorted(len(request.texts) for request in student.asked) == [2, 2, 2, 2]


async def test_answers_carry_the_share_that_was_sampled(tmp_path: Path, student: WireStudent) -> None:
    """So that a sum over them can be weighted."""
    bench = Bench(tmp_path)
    await bench.connected()
    bench.submit(2, share=0.25)
    await bench.until(answers=2, drops=0)
    await bench.close()
    assert [answer.inclusion for answer in bench.answers] == [0.25, 0.25]


async def test_requests_of_the_shadow_are_not_urgent(tmp_path: Path, student: WireStudent) -> None:
    """A caller who waits goes first."""
    bench = Bench(tmp_path)
    await bench.connected()
    student.asked.clear()
    bench.submit(1)
    await bench.until(answers=1, drops=0)
    await bench.close()
    assert [request.urgent for request in student.asked] == [False]
