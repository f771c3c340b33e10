"""What the chapters of the demo share: the deployment as an operator sees it, and waiting until something has come."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from examples.helpdesk import deployment as running
from examples.helpdesk.corpus import Partition, Post
from examples.helpdesk.narrator import Advance, Narrator
from examples.helpdesk.summary import Chapter
from examples.helpdesk.traffic import Replayer, Sent

TASK = "helpdesk"
SETTLE_SECONDS = 180.0
QUIET_SECONDS = 8.0  # several ticks of the monitor without a new pair: nothing more will come


class StoryBroken(RuntimeError):
    """Something did not happen that the demo is about."""


@dataclass
class Supply:
    """Posts of the early and of the new areas, each sent once."""

    early: Iterator[Post]
    drift: Iterator[Post]

    def mixed(self, count: int, drift_share: float) -> list[Post]:
        """The next posts, the new areas spread evenly among them; fewer when the corpus is used up."""
        posts: list[Post] = []
        owed = 0.0
        for _ in range(count):
            owed += drift_share
            source = self.drift if owed >= 1 else self.early
            owed -= owed >= 1
            posts += itertools.islice(source, 1)
        return posts


@dataclass
class Story:
    """What the chapters share."""

    narrator: Narrator
    deployment: running.Deployment
    replayer: Replayer
    supply: Supply
    posts: Partition
    drift_areas: tuple[str, ...]
    operator_key: str
    validator_key: str

    def get(self, path: str, **parameters: object) -> Any:
        """Ask the admin API."""
        response = httpx.get(
            self.deployment.url("control") + "/api/v1" + path,
            params={name: str(value) for name, value in parameters.items()},
            headers={"authorization": f"Bearer {self.operator_key}"},
            timeout=30,
        )
        response.raise_for_status()
        return response.json()

    def task(self) -> dict[str, Any]:
        """The task's part of the status document."""
        return dict(next(task for task in self.get("/status")["tasks"] if task["task"] == TASK))

    def send(self, posts: Sequence[Post], what: str) -> list[Sent]:
        with self.narrator.counting(what, len(posts)) as advance:
            return self.send_quietly(posts, advance)

    def send_quietly(self, posts: Sequence[Post], advance: Advance) -> list[Sent]:
        """Send within a count that is shown already. Every caller has to get an answer."""
        sent = self.replayer.send(posts, advance)
        failed = [one for one in sent if one.status != 200]
        if failed:
            raise StoryBroken(f"{len(failed)} of {len(sent)} requests failed, first: {failed[0]}")
        return sent

    def command(self, key: str, *arguments: str) -> None:
        """An operator's command, shown as typed, with what it prints."""
        self.narrator.command("stillgate " + " ".join(arguments))
        finished = running.stillgate(self.deployment, key, *arguments)
        self.narrator.output(finished.stdout + finished.stderr)
        if finished.returncode != 0:
            raise StoryBroken(f"`stillgate {' '.join(arguments)}` ended with code {finished.returncode}")


def follow_job(story: Story, job_id: int) -> str:
    """Show what the job does until it has ended, and wait until its student answers in shadow."""
    with story.narrator.following("job") as follow:
        while is_open(job := job_of(story, job_id)):
            follow(job["phase"] or "waits for the worker", job["progress"])
            time.sleep(0.5)
    if job["status"] != "succeeded":
        raise StoryBroken(f"job {job_id} ended as {job['status']}: {'; '.join(job['reasons'])}")
    artifact = str(job["artifact"])
    story.narrator.say(f"{artifact} passed its gate, is registered and enters shadow by itself")
    wait_for_stage(story, artifact, "shadow")
    return artifact


def chapter_of(story: Story, artifact: str, since_us: int, expected: int) -> Chapter:
    """The slices of one student since a moment, once the monitor has read what was sent."""
    until_us = _now_us()
    deadline = time.monotonic() + SETTLE_SECONDS
    pairs, quiet_since = -1, time.monotonic()
    while True:
        rows = story.get(f"/tasks/{TASK}/slices", artifact=artifact, since_us=since_us)["slices"]
        chapter = Chapter(since_us, until_us, {row["slice"]: row for row in rows})
        if chapter.pairs != pairs:
            pairs, quiet_since = chapter.pairs, time.monotonic()
        if pairs >= expected or time.monotonic() - quiet_since > QUIET_SECONDS:
            return chapter
        if time.monotonic() > deadline:
            raise StoryBroken(f"the monitor is still reading after {SETTLE_SECONDS:.0f} s")
        time.sleep(0.3)


def job_of(story: Story, job_id: int) -> dict[str, Any]:
    return dict(next(job for job in story.task()["jobs"] if job["id"] == job_id))


def is_open(job: dict[str, Any]) -> bool:
    return job["status"] in ("waiting", "running")


def student_of(story: Story, artifact: str) -> dict[str, Any]:
    return dict(next(student for student in story.task()["students"] if student["artifact"] == artifact))


def wait_for_stage(story: Story, artifact: str, stage: str) -> None:
    """Until the student is there, and the student process has loaded it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (student := student_of(story, artifact))["stage"] != stage or not student["loaded"]:
        if time.monotonic() > deadline:
            loaded = student["problem"] or ("loaded" if student["loaded"] else "not loaded yet")
            raise StoryBroken(
                f"{artifact} did not reach {stage} within {SETTLE_SECONDS:.0f} s: it is in"
                f" {student['stage']}, {loaded}"
            )
        time.sleep(0.3)


def _now_us() -> int:
    return time.time_ns() // 1000


def window_start_us() -> int:
    """The present second's beginning: sums are kept by windows of a second, and a window counts whole."""
    return _now_us() // 1_000_000 * 1_000_000
