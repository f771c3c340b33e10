"""Extra calls to the teacher before a real gateway: the day's ceiling holds, is told, and outlives the process."""

from contextlib import ExitStack
from pathlib import Path

from ledger.extra_calls import Purpose, Refusal, used
from ledger.stages import Stage
from tests.gateway.running import Running, ended, start_gateway_on, wait_until
from tests.gateway.test_student_arm import Rollout, start_rollout

CEILING = 3
SETTINGS = f"[task.extra_calls]\nper_day = {CEILING}"
REFUSED = (
    f'stillgate_extra_calls_refused_total{{purpose="{Purpose.AUDIT}",reason="{Refusal.CEILING}",task="desk"}}'
)
DROPPED = f'stillgate_audits_dropped_total{{reason="{Refusal.CEILING}"}}'


def _serve(rollout: Rollout, requests: int) -> None:
    replies = [rollout.process.predict("my billing") for _ in range(requests)]
    assert {reply.header("x-stillgate-served-by") for reply in replies} == {"student"}


def _audits(process: Running) -> int:
    return sum(len(process.answers(exchange.sequence)) - 1 for exchange in process.exchanges()[1:])


def test_audits_stop_at_the_ceiling_and_a_restart_does_not_give_more(
    teacher_url: str, tmp_path: Path
) -> None:
    """So many audits a day, the rest dropped with that reason; callers are served all the same."""
    with ExitStack() as stack:
        changes = {"audit_share": 0.999, "remote_student": SETTINGS, "stale_seconds": 600}
        rollout = start_rollout(stack, tmp_path, teacher_url, **changes)
        rollout.process.predict("billing")
        rollout.set_stage(Stage.FULL, 1.0)
        _serve(rollout, 12)
        rollout.process.settled()
        drawn = sum(exchange.measured for exchange in rollout.process.exchanges()[1:])
        wait_until(lambda: rollout.process.metrics()[REFUSED] == drawn - CEILING)
        wait_until(lambda: _audits(rollout.process) == CEILING)
        assert rollout.process.metrics()[DROPPED] == drawn - CEILING
        rollout.process.kill()
        assert used(tmp_path, "desk")[Purpose.AUDIT] == CEILING
        again = start_gateway_on(
            tmp_path, tmp_path / "stillgate.toml", rollout.process.port, rollout.process.operations_port
        )
        with ended(again) as process:
            wait_until(lambda: process.metrics()['stillgate_degraded{part="monitor"}'] == 0)
            process.predict("billing")  # the form is seen again
            _serve(Rollout(process, rollout.student, rollout.control, rollout.tiny), 4)
            process.settled()
            wait_until(lambda: process.metrics()[REFUSED] > 0)
        assert used(tmp_path, "desk")[Purpose.AUDIT] == CEILING
