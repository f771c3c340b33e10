"""make demo: a teacher, its traffic, a first student, a drift, the alarm, and the repaired student that serves.

Every step is the product's own: the processes of `stillgate up`, the operator's commands, the admin API.
"""

import argparse
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from examples.helpdesk import deployment as running
from examples.helpdesk import summary
from examples.helpdesk.corpus import (
    DEFAULT_CACHE,
    DownloadFailed,
    Partition,
    fetch_corpus,
    fetch_encoder,
    load_posts,
    partition,
)
from examples.helpdesk.narrator import Narrator
from examples.helpdesk.story import (
    TASK,
    Story,
    StoryBroken,
    Supply,
    chapter_of,
    follow_job,
    is_open,
    job_of,
    student_of,
    wait_for_stage,
    window_start_us,
)
from examples.helpdesk.teacher import build_teacher
from examples.helpdesk.traffic import Replayer, Sent

DEFAULT_DRIFT = ("rec.motorcycles", "sci.space", "comp.sys.mac.hardware")
TEACHER_POSTS_PER_AREA, FRESH_POSTS_PER_AREA = 130, 120
RECORD_POSTS = 2100  # before there is any student
QUIET_POSTS = 450  # the first student in shadow, nothing has changed
TRICKLE_POSTS = 240  # the drift begins: one post in twenty is of a new area
MOST_DRIFT_POSTS = 4000
GROUP = 80  # posts between two looks at the alarms
TRICKLE, THIRD, FLOOD = 0.05, 1 / 3, 0.75  # share of the new areas in the traffic
UNAFFECTED_POSTS = 1000  # for the comparison of the two students
CANARY_POSTS, FULL_POSTS = 200, 300


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    narrator = Narrator()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    try:
        return _tell(options, narrator)
    except (DownloadFailed, StoryBroken, running.DidNotStart, ValueError) as error:
        narrator.problem(str(error))
        return 1
    except KeyboardInterrupt:
        narrator.say("stopped")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.helpdesk.demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="which posts play which part")
    parser.add_argument(
        "--drift", default=",".join(DEFAULT_DRIFT), help="areas that arrive later, separated by commas"
    )
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="downloads and the run's folder")
    return parser


def _tell(options: argparse.Namespace, narrator: Narrator) -> int:
    drift_areas = tuple(area.strip() for area in options.drift.split(",") if area.strip())
    narrator.chapter("A teacher is trained and served")
    posts, version, teacher_folder = _prepare(options, narrator, drift_areas)
    encoder = fetch_encoder(options.cache)
    deployment = running.start(options.cache / "run", teacher_folder, encoder, version)
    try:
        story = _begin(narrator, deployment, posts, drift_areas, options.seed)
        _chapters(story)
        narrator.addresses(
            status_page=f"{deployment.url('control')}/#key={story.operator_key}",
            metrics=[f"{deployment.url(name)}/metrics" for name in ("operations", "monitor")],
        )
        if sys.stdin.isatty() and sys.stdout.isatty():
            narrator.wait_for_interrupt()
    finally:
        deployment.stop()
    return 0


def _prepare(
    options: argparse.Namespace, narrator: Narrator, drift_areas: tuple[str, ...]
) -> tuple[Partition, str, Path]:
    narrator.say("fetching the corpus and the encoder (once)")
    all_posts = load_posts(fetch_corpus(options.cache))
    posts = partition(
        all_posts,
        options.seed,
        drift_areas,
        teacher_rows=TEACHER_POSTS_PER_AREA,
        measurement_rows=FRESH_POSTS_PER_AREA,
    )
    encoder = fetch_encoder(options.cache)
    folder = options.cache / f"teacher-{options.seed}"
    with narrator.counting(f"training the teacher on {len(posts.teacher)} labelled posts") as advance:
        card = build_teacher(posts.teacher, encoder, folder, seed=options.seed, progress=advance.to)
    narrator.say(f"the teacher: {card.posts} posts, held-out accuracy {card.held_out_accuracy:.1%}")
    return posts, card.version, folder


def _begin(
    narrator: Narrator,
    deployment: running.Deployment,
    posts: Partition,
    drift_areas: tuple[str, ...],
    seed: int,
) -> Story:
    """Two people with keys of their own; the admin key only made them."""
    keys = {}
    for person, role in (("helpdesk-operator", "operator"), ("helpdesk-validator", "validator")):
        response = httpx.post(
            deployment.url("control") + "/api/v1/keys",
            json={"person": person, "role": role},
            headers={"authorization": f"Bearer {deployment.admin_key}"},
        )
        keys[role] = response.raise_for_status().json()["key"]
    replayer = Replayer(deployment.url("gateway"), deployment.url("control"), keys["operator"], seed)
    supply = Supply(
        iter(posts.early + tuple(post for post in posts.drift if post.area not in drift_areas)),
        iter(tuple(post for post in posts.drift if post.area in drift_areas)),
    )
    narrator.say(
        f"teacher at {deployment.url('teacher')}, gateway in front of it at {deployment.url('gateway')}"
    )
    return Story(
        narrator, deployment, replayer, supply, posts, drift_areas, keys["operator"], keys["validator"]
    )


def _chapters(story: Story) -> None:
    story.narrator.chapter("No student yet: the gateway serves the teacher and records")
    story.send(story.supply.mixed(RECORD_POSTS, 0.0), "requests, nine areas")
    story.narrator.chapter("The first student is distilled from the record")
    first = _first_student(story)
    story.narrator.chapter("It answers the same requests in shadow; callers get the teacher's bytes")
    before = _quiet(story, first)
    story.narrator.chapter(f"The traffic drifts: {', '.join(story.drift_areas)} begin to arrive")
    at_alarm, alarm = _drift(story, first)
    story.narrator.chapter(f"The alarm has led to distillation job {alarm['job_id']}")
    second, repair_seconds = _repair(story, alarm["job_id"])
    story.narrator.chapter("Old and new student side by side, in shadow")
    after = _compare(story, second)
    comparison = _comparison(story, first, second, after.since_us)
    story.narrator.chapter("Two people move the new student to canary and to full")
    served = _serve(story, second)
    summary.tell(
        story.narrator,
        summary.Findings(
            drift_areas=story.drift_areas,
            before=before,
            at_alarm=at_alarm,
            after=after,
            alarm=story.get(f"/alarms/{alarm['id']}") | {"aggregate": alarm["aggregate"]},
            student=story.get(f"/tasks/{TASK}/students/{second}"),
            comparison=comparison,
            served=served,
            teacher_milliseconds=_teacher_milliseconds(story),
            repair_seconds=repair_seconds,
            accounts=story.get("/status")["gateways"],
        ),
    )


def _first_student(story: Story) -> str:
    story.command(story.operator_key, "distill", "open", TASK, "--reason", "first student, from the record")
    return follow_job(story, max(job["id"] for job in story.task()["jobs"]))


def _quiet(story: Story, first: str) -> summary.Chapter:
    since_us = window_start_us()
    sent = story.send(story.supply.mixed(QUIET_POSTS, 0.0), "requests, nothing has changed")
    chapter = chapter_of(story, first, since_us, len(sent))
    alarms = _alarms(story)
    if alarms:
        raise StoryBroken(f"an alarm before the drift, so there is nothing to show: {_told(alarms)}")
    story.narrator.say(f"fidelity {chapter.overall_fidelity:.1%} over {chapter.pairs} pairs; no alarm")
    return chapter


def _drift(story: Story, first: str) -> tuple[summary.Chapter, dict[str, Any]]:
    """Send until an alarm leads to a job: first a trickle of the new areas, then a third of the traffic."""
    since_us, sent, alarms = window_start_us(), 0, list[dict[str, Any]]()
    with story.narrator.counting("requests, 5 % and then a third of new areas") as advance:
        while not any(alarm["job_id"] for alarm in alarms):
            posts = story.supply.mixed(GROUP, TRICKLE if sent < TRICKLE_POSTS else THIRD)
            if sent >= MOST_DRIFT_POSTS or not posts:
                raise StoryBroken(_why_no_job(sent, alarms))
            sent += len(story.send_quietly(posts, advance))
            alarms = _alarms(story)
    chapter = chapter_of(story, first, since_us, sent)
    rows = story.get(f"/tasks/{TASK}/slices", artifact=first)["slices"]
    aggregate = next(float(row["fidelity"]) for row in rows if row["slice"] == summary.OVERALL)
    for alarm in alarms:
        story.narrator.alarm(alarm, chapter.fidelity(alarm["slice"]), aggregate)
    opening = next(alarm for alarm in alarms if alarm["job_id"])
    return chapter, dict(opening) | {"aggregate": aggregate}


def _why_no_job(sent: int, alarms: Sequence[dict[str, Any]]) -> str:
    if not alarms:
        return f"no alarm within {sent} requests of the drift"
    return f"no alarm within {sent} requests of the drift has led to a job: {_told(alarms)}"


def _alarms(story: Story) -> list[dict[str, Any]]:
    """In the order in which they were raised."""
    return sorted(story.task()["alarms"], key=lambda alarm: int(alarm["id"]))


def _told(alarms: Sequence[dict[str, Any]]) -> str:
    return "; ".join(
        f"alarm {one['id']} on {one['slice']}, {one['decision'].replace('_', ' ')}: {one['decision_reason']}"
        for one in alarms
    )


def _repair(story: Story, job_id: int) -> tuple[str, float]:
    """Traffic goes on while the job collects what its gate needs; then it trains and registers."""
    started = time.monotonic()
    with story.narrator.counting(
        "requests while the job collects rows, three quarters of new areas"
    ) as advance:
        while is_open(job := job_of(story, job_id)) and not _has_rows(job):
            posts = story.supply.mixed(GROUP, FLOOD)
            if not posts:
                break
            story.send_quietly(posts, advance)
    return follow_job(story, job_id), time.monotonic() - started


def _compare(story: Story, second: str) -> summary.Chapter:
    """Both students answer the same fresh posts, none of which trained or gated either."""
    since_us = window_start_us()
    fresh = list(story.posts.measurement)
    unaffected = sum(post.area not in story.drift_areas for post in fresh)
    fresh += story.supply.mixed(max(0, UNAFFECTED_POSTS - unaffected), 0.0)
    sent = story.send(fresh, "fresh requests, both students in shadow")
    return chapter_of(story, second, since_us, len(sent))


def _comparison(story: Story, first: str, second: str, since_us: int) -> summary.Comparison:
    document = story.get(f"/tasks/{TASK}/comparison", old=first, new=second, since_us=since_us)
    return summary.comparison(document["slices"], story.drift_areas)


def _serve(story: Story, second: str) -> summary.Served:
    _promote(story, second, "canary", "--share", "0.5")
    canary = story.send(story.supply.mixed(CANARY_POSTS, THIRD), "requests, canary at one half")
    _promote(story, second, "full")
    full = story.send(story.supply.mixed(FULL_POSTS, THIRD), "requests, the student serves where it may")
    story.replayer.tell_all_labels()
    return summary.Served(_share(canary), _share(full), _fallbacks(story))


def _promote(story: Story, artifact: str, stage: str, *more: str) -> None:
    _judge(story, artifact)
    story.command(
        story.operator_key, "promote", TASK, "--to", stage, *more, "--reason", f"{stage}: verdicts pass"
    )
    story.command(story.validator_key, "approve", "--reason", "looked at the slices")
    wait_for_stage(story, artifact, stage)
    time.sleep(1.0)  # the gateway obeys within a second


def _judge(story: Story, artifact: str) -> None:
    """While the live verdict is inconclusive nobody can promote: more requests have to come first."""
    while (student := student_of(story, artifact))["outcome"] == "inconclusive":
        story.narrator.say(f"the live verdict is inconclusive: {'; '.join(student['reasons'])}")
        posts = story.supply.mixed(GROUP, THIRD)
        if not posts:
            raise StoryBroken("the corpus is used up, and nobody may promote on an inconclusive verdict")
        since_us = window_start_us()
        chapter_of(story, artifact, since_us, len(story.send(posts, "more requests, for the verdict")))
    if student["outcome"] != "pass":
        reasons = "; ".join(student["reasons"])
        raise StoryBroken(f"{artifact} may not go up, its live verdict is {student['outcome']}: {reasons}")
    story.narrator.say(f"the live verdict on {artifact} is pass: {student['reasons'][0]}")


def _fallbacks(story: Story) -> dict[str, int]:
    """Why the teacher answered requests of the student's arm, from the gateway's metrics."""
    text = httpx.get(story.deployment.url("operations") + "/metrics", timeout=30).text
    lines = re.findall(r'^stillgate_fallback_total\{.*?reason="(\w+)".*?\} (\S+)$', text, re.MULTILINE)
    return {reason: round(float(count)) for reason, count in lines if float(count)}


def _share(sent: Sequence[Sent]) -> float:
    return sum(one.served_by == "student" for one in sent) / len(sent)


def _has_rows(job: dict[str, Any]) -> bool:
    return bool(job["phase"]) and not job["phase"].startswith(("starting", "collecting"))


def _teacher_milliseconds(story: Story) -> float:
    """Processor time of the teacher's process for one answer, over the whole run."""
    seconds = running.processor_seconds(story.deployment.teacher.pid)
    answers = sum(one.served_by == "teacher" for one in story.replayer.sent)
    return seconds * 1000 / answers


if __name__ == "__main__":
    sys.exit(main())
