"""Commands that change something, as their persons would type them, against a real admin API."""

import threading
from pathlib import Path

import pytest

from ledger.control_file import transaction
from ledger.jobs import JobStatus, beat, claim_job, finish_job
from tests.gateway.control.desk import TASK, Desk, give_pairs, wait_until
from tests.stillgate.command import run, run_as

WHY = ("--reason", "it is time")


def test_a_student_goes_up_by_two_persons_and_down_by_one(desk: Desk, student: str) -> None:
    """promote, approve, promote, approve, undo, abort: each tells what it did."""
    proposed = run_as(desk, "olga", "promote", TASK, "--to", "canary", "--share", "0.3", *WHY)
    assert (proposed.exit_code, proposed.stdout) == (0, "proposal 1\n")
    assert "stillgate approve 1" in proposed.stderr
    approved = run_as(desk, "pete", "approve", *WHY)
    assert approved.stdout == f"{student} to canary with share 0.3: approved\n"
    assert run_as(desk, "olga", "promote", TASK, "--to", "full", *WHY).exit_code == 0
    assert run_as(desk, "pete", "approve", "2", *WHY).exit_code == 0
    assert run_as(desk, "olga", "undo", TASK, *WHY).stdout == f"{student} canary share 0.3\n"
    assert run_as(desk, "pete", "abort", TASK, *WHY).stdout == f"{student} rolled_back share 0\n"


def test_a_proposal_can_be_rejected(desk: Desk, student: str) -> None:
    """Then none waits, and to approve one is a conflict."""
    run_as(desk, "olga", "promote", TASK, "--to", "canary", *WHY)
    assert run_as(desk, "pete", "reject", *WHY).stdout == f"{student} to canary: rejected\n"
    assert run_as(desk, "pete", "approve", *WHY).exit_code == 6


def test_exit_codes_say_why_it_was_refused(desk: Desk, student: str) -> None:
    """4 verdict, 5 person or role, 6 conflict, 2 unknown, with the sentence on standard error."""
    run_as(desk, "olga", "promote", TASK, "--to", "canary", *WHY)
    forbidden = run_as(desk, "olga", "approve", "1", *WHY)
    assert (forbidden.exit_code, forbidden.stdout) == (5, "")
    assert "validator" in forbidden.stderr
    assert run_as(desk, "olga", "promote", TASK, "--to", "canary", *WHY).exit_code == 6
    give_pairs(desk.engine, student, {"all": (20, 20)})
    refused = run_as(desk, "pete", "approve", "1", *WHY)
    assert (refused.exit_code, "inconclusive" in refused.stderr) == (4, True)
    assert run_as(desk, "pete", "approve", "77", *WHY).exit_code == 2
    assert run_as(desk, "olga", "promote", "nix", "--to", "canary", *WHY).exit_code == 2


def test_an_unknown_key_is_forbidden_and_a_silent_server_unreachable(desk: Desk, tmp_path: Path) -> None:
    """5 and 7; the second names the address."""
    assert run("status", "--config", str(desk.path), key="stg_admin_x").exit_code == 5
    assert run("status", "--config", str(desk.path), key="späße").exit_code in (5, 7)
    other = tmp_path / "other.toml"
    other.write_text(desk.path.read_text().replace(desk.configuration.control.listen, "127.0.0.1:1"))
    silent = run("status", "--config", str(other), key="x")
    assert (silent.exit_code, "127.0.0.1:1" in silent.stderr) == (7, True)


@pytest.mark.parametrize(
    "arguments", [("promote", TASK, "--to", "canary"), ("promote", TASK, "--to", "shadow", *WHY), ("nix",)]
)
def test_a_wrong_command_line_is_2(desk: Desk, arguments: tuple[str, ...]) -> None:
    """A reason is required, and only known stages are taken."""
    assert run(*arguments).exit_code == 2


def test_distill_opens_one_job(desk: Desk) -> None:
    """A second is a conflict while the first is open."""
    assert run_as(desk, "olga", "distill", "open", TASK, *WHY).stdout == "job 1\n"
    assert run_as(desk, "olga", "distill", "open", TASK, *WHY).exit_code == 6
    assert run_as(desk, "vera", "distill", "open", TASK, *WHY).exit_code == 5


def _work(desk: Desk, status: JobStatus, reasons: list[str]) -> None:
    """A worker that takes the job, says what it does, and ends it."""
    claimed: list[int] = []

    def claim() -> bool:
        with transaction(desk.engine) as session:
            job = claim_job(session, "w-1")
            if job is not None and job.id is not None:
                claimed.append(job.id)
        return bool(claimed)

    wait_until(claim)
    with transaction(desk.engine) as session:
        beat(session, claimed[0], "w-1", "training", 0.5)
    with transaction(desk.engine) as session:
        finish_job(session, claimed[0], "w-1", status, reasons, "s-new")


@pytest.mark.parametrize(
    ("status", "reasons", "exit_code"),
    [(JobStatus.SUCCEEDED, [], 0), (JobStatus.FAILED, ["torch is not installed"], 1)],
)
def test_distill_can_wait_for_the_end(
    desk: Desk, status: JobStatus, reasons: list[str], exit_code: int
) -> None:
    """The student's name on standard output, or the reasons on standard error."""
    worker = threading.Thread(target=_work, args=(desk, status, reasons))
    worker.start()
    ended = run_as(desk, "olga", "distill", "open", TASK, "--wait", "--timeout", "30", *WHY)
    worker.join()
    assert ended.exit_code == exit_code
    assert ended.stdout == ("job 1 s-new\n" if exit_code == 0 else "")
    assert all(reason in ended.stderr for reason in reasons)


def test_distill_stops_waiting_at_the_timeout(desk: Desk) -> None:
    """3, and the job goes on."""
    assert run_as(desk, "olga", "distill", "open", TASK, "--wait", "--timeout", "0", *WHY).exit_code == 3
    assert desk.task()["jobs"][0]["status"] == "waiting"


def test_keys_are_made_shown_once_and_revoked(desk: Desk) -> None:
    """The key alone on standard output, so that a script can keep it."""
    made = run_as(desk, "ada", "key", "create", "nora@desk", "--role", "operator")
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert run("distill", "open", TASK, *WHY, "--config", str(desk.path), key=key).exit_code == 0
    assert run_as(desk, "ada", "key", "revoke", "nora@desk").stdout == "revoked 1\n"
    assert run("status", "--config", str(desk.path), key=key).exit_code == 5
