"""The student process itself, over its real socket."""

import asyncio
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ledger.configuration import StudentSection
from ledger.observation import ObservationError
from ledger.stages import Stage
from student.client import StudentClient
from student.session import Student, quiet_run
from student.wire import Frames, Refusal, Response, StudentRequest, read_reply, request_frame
from tests.artifacts import FAILING_WORD, NAN_WORD, TinyArtifact, register, set_stage, tiny_artifact
from tests.student.conftest import DEADLINE_SECONDS, Processes, student_report, wait_for

CLASSES = ("cats", "dogs", "birds")


def put_into_shadow(processes: Processes, control: Engine, **settings: Any) -> TinyArtifact:
    tiny = tiny_artifact(processes.data_directory, CLASSES, **settings)
    register(control, tiny)
    return tiny


def wait_until_loaded(control: Engine, *artifacts: str) -> None:
    wait_for(
        lambda: set(artifacts) == set(student_report(control)["loaded"]),
        lambda: str(student_report(control)),
    )


async def ask(processes: Processes, artifact: str, *texts: str, seconds: float = 20) -> Response:
    client = StudentClient(processes.socket)
    try:
        return await client.ask(artifact, texts, seconds)
    finally:
        await client.close()


def exchange_frames(path: Path, frames: bytes, replies: int) -> dict[int, Response]:
    """Write all at once and read so many replies, by id."""
    found: dict[int, Response] = {}
    cutter = Frames()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(frames)
        while len(found) < replies:
            chunk = connection.recv(2**16)
            assert chunk, "the student closed the connection"
            found |= {reply.id: reply.response for reply in map(read_reply, cutter.feed(chunk))}
    return found


def frame(
    id: int, artifact: str, texts: tuple[str, ...], deadline_ms: int = 20_000, urgent: bool = False
) -> bytes:
    encoded = request_frame(StudentRequest(id, artifact, texts, deadline_ms, urgent))
    assert isinstance(encoded, bytes)
    return encoded


async def test_answers_equal_those_of_the_artifact_alone(processes: Processes, control: Engine) -> None:
    """Many connections, mixed lengths and batches give each text the answer it gets alone."""
    tiny = put_into_shadow(processes, control)
    processes.start()
    wait_until_loaded(control, tiny.artifact)
    texts = [f"{'word ' * (n % 40)}{CLASSES[n % 3]}" for n in range(120)]
    texts += [f"dogs {NAN_WORD}", FAILING_WORD]
    clients = [StudentClient(processes.socket) for _ in range(3)]
    asked = [clients[n % 3].ask(tiny.artifact, texts[n : n + 3], 20) for n in range(len(texts))]
    responses = await asyncio.gather(*asked)
    for client in clients:
        await client.close()
    alone = Student.load(tiny.folder, tiny.manifest_digest, StudentSection())
    expected = {text: alone.answer([text])[0] for text in texts}
    for n, response in enumerate(responses):
        assert not isinstance(response, Refusal)
        for text, observation in zip(texts[n : n + 3], response, strict=True):
            assert observation.error == expected[text].error
            if observation.error is None:
                assert observation.probabilities == pytest.approx(expected[text].probabilities, abs=1e-6)


async def test_it_waits_for_stages_and_follows_them(processes: Processes, control: Engine) -> None:
    """An artifact answers once its stage lets it, and no longer when the stage is over."""
    processes.start()
    tiny = tiny_artifact(processes.data_directory, CLASSES)
    register(control, tiny, stage=Stage.CANDIDATE)
    wait_until_loaded(control)
    assert await ask(processes, tiny.artifact, "dogs") is Refusal.NOT_LOADED
    set_stage(control, tiny.artifact, Stage.CANARY, 0.1)
    wait_until_loaded(control, tiny.artifact)
    response = await ask(processes, tiny.artifact, "dogs")
    assert not isinstance(response, Refusal)
    assert response[0].top == 1
    set_stage(control, tiny.artifact, Stage.ROLLED_BACK)
    wait_until_loaded(control)
    assert await ask(processes, tiny.artifact, "dogs") is Refusal.NOT_LOADED


def break_model_file(tiny: TinyArtifact) -> None:
    path = tiny.folder / "model.onnx"
    path.write_bytes(path.read_bytes() + b" ")


def remove_folder(tiny: TinyArtifact) -> None:
    tiny.folder.rename(tiny.folder.with_suffix(".away"))


def change_manifest(tiny: TinyArtifact) -> None:
    path = tiny.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"0.9", b"1.9"))


def leave_alone(tiny: TinyArtifact) -> None:
    pass


@pytest.mark.parametrize(
    ("settings", "damage", "message"),
    [
        ({}, break_model_file, "corrupt"),
        ({}, remove_folder, "missing"),
        ({}, change_manifest, "differs from the registered digest"),
        ({"always_nan": True}, leave_alone, "not_finite"),
        ({"graph_classes": 4}, leave_alone, "'batch', 4"),
    ],
)
async def test_a_bad_artifact_is_reported_and_the_others_answer(
    processes: Processes, control: Engine, settings: dict[str, Any], damage: Any, message: str
) -> None:
    """The heartbeat and the log say what is wrong; asking for it is refused; its neighbour answers."""
    good = put_into_shadow(processes, control)
    bad = put_into_shadow(processes, control, seed=2, **settings)
    damage(bad)
    process = processes.start()
    wait_until_loaded(control, good.artifact)
    wait_for(lambda: bad.artifact in student_report(control)["problems"])
    assert message in student_report(control)["problems"][bad.artifact]
    assert message in processes.log(process)
    assert await ask(processes, bad.artifact, "dogs") is Refusal.NOT_LOADED
    assert not isinstance(await ask(processes, good.artifact, "dogs"), Refusal)


async def test_a_restored_artifact_is_loaded_without_a_restart(processes: Processes, control: Engine) -> None:
    """A problem is looked at again after a while."""
    tiny = put_into_shadow(processes, control)
    remove_folder(tiny)
    processes.start()
    wait_for(lambda: tiny.artifact in student_report(control)["problems"])
    tiny.folder.with_suffix(".away").rename(tiny.folder)
    wait_until_loaded(control, tiny.artifact)
    assert student_report(control)["problems"] == {}


def test_a_full_queue_refuses_at_the_door(processes: Processes, control: Engine) -> None:
    """What is above queue_inputs is refused as queue_full, a request that could never fit as too_large."""
    tiny = put_into_shadow(processes, control)
    processes.start(queue_inputs=3)
    wait_until_loaded(control, tiny.artifact)
    requests = [(1, ("dogs", "cats")), (2, ("dogs", "cats")), (3, ("a", "b", "c", "d")), (4, ("dogs",))]
    replies = exchange_frames(
        processes.socket, b"".join(frame(id, tiny.artifact, texts) for id, texts in requests), 4
    )
    assert replies[2] is Refusal.QUEUE_FULL
    assert replies[3] is Refusal.TOO_LARGE
    for id, length in ((1, 2), (4, 1)):
        response = replies[id]
        assert not isinstance(response, Refusal)
        assert len(response) == length


def test_what_is_past_its_deadline_is_dropped_and_counted(processes: Processes, control: Engine) -> None:
    """An overdue request is refused by the process itself, its patient neighbours are answered."""
    tiny = put_into_shadow(processes, control)
    processes.start()
    wait_until_loaded(control, tiny.artifact)
    patient = b"".join(frame(id, tiny.artifact, ("dogs",)) for id in range(1, 4))
    overdue = frame(9, tiny.artifact, ("dogs", "cats"), 0)
    replies = exchange_frames(processes.socket, patient + overdue, 4)
    assert replies[9] is Refusal.DEADLINE
    assert not any(isinstance(replies[id], Refusal) for id in range(1, 4))
    wait_for(lambda: student_report(control)["inputs"].get("deadline") == 2)


async def test_a_killed_process_is_down_until_it_is_started_again(
    processes: Processes, control: Engine
) -> None:
    """The same client goes through answer, student_down, and answer again, over a stale socket file."""
    tiny = put_into_shadow(processes, control)
    first = processes.start()
    wait_until_loaded(control, tiny.artifact)
    client = StudentClient(processes.socket)
    assert not isinstance(await client.ask(tiny.artifact, ["dogs"], 20), Refusal)
    os.kill(first.pid, signal.SIGSTOP)
    pending = client.ask(tiny.artifact, ["dogs"], 20)
    await asyncio.sleep(0)
    first.kill()
    assert await pending is Refusal.STUDENT_DOWN
    assert processes.socket.exists()
    processes.start()
    async with asyncio.timeout(30):
        while isinstance(await client.ask(tiny.artifact, ["dogs"], 20), Refusal):
            await asyncio.sleep(0.02)
    await client.close()


def test_only_the_owner_may_use_the_socket(processes: Processes) -> None:
    """Nobody else on the machine can read texts or give answers."""
    processes.start()
    assert processes.socket.stat().st_mode & 0o777 == 0o600


def test_a_second_process_refuses_to_start(processes: Processes, control: Engine) -> None:
    """It names the first one, exits 1, and leaves the socket to it."""
    first = processes.start()
    second = processes.spawn()
    assert second.wait(30) == 1
    assert f"pid {first.pid}" in processes.log(second)
    assert exchange_frames(processes.socket, frame(1, "nobody", ("a",)), 1) == {1: Refusal.NOT_LOADED}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly(processes: Processes, control: Engine, number: signal.Signals) -> None:
    """Exit 0, nothing in the log that looks like a crash, and the socket is gone."""
    put_into_shadow(processes, control)
    process = processes.start()
    process.send_signal(number)
    assert process.wait(30) == 0
    assert "Traceback" not in processes.log(process)
    assert not processes.socket.exists()


def test_whoever_waits_at_the_stop_is_told(processes: Processes, control: Engine) -> None:
    """Open requests are refused as shutting_down before the connection ends."""
    tiny = put_into_shadow(processes, control, busy_rounds=3000)
    process = processes.start(run_seconds=60)  # its warm-up takes long on a busy machine
    wait_until_loaded(control, tiny.artifact)
    cutter = Frames()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(processes.socket))
        connection.sendall(frame(1, tiny.artifact, ("dogs",)) + frame(2, "nobody", ("dogs",)))
        (first,) = map(read_reply, cutter.feed(connection.recv(2**16)))
        assert first.response is Refusal.NOT_LOADED
        process.terminate()
        (second,) = map(read_reply, cutter.feed(connection.recv(2**16)))
    assert second.response is Refusal.SHUTTING_DOWN
    assert process.wait(30) == 0


def test_garbage_ends_its_own_connection_only(processes: Processes, control: Engine) -> None:
    """Another gateway's connection goes on."""
    tiny = put_into_shadow(processes, control)
    processes.start()
    wait_until_loaded(control, tiny.artifact)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(20)
        stranger.connect(str(processes.socket))
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(100) == b""
    (response,) = exchange_frames(processes.socket, frame(1, tiny.artifact, ("dogs",)), 1).values()
    assert not isinstance(response, Refusal)


def test_a_wrong_configuration_is_explained(processes: Processes) -> None:
    """Exit 2 with the sentence about the setting."""
    process = processes.spawn(threads=0)
    assert process.wait(30) == 2
    assert "student.threads" in processes.log(process)


def test_a_missing_provider_is_explained_at_the_start(processes: Processes) -> None:
    """Exit 2, naming what this machine has, before anything listens: a supervisor does not try again."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    process = processes.spawn(providers=["cuda"])
    assert process.wait(30) == 2
    assert "CPUExecutionProvider" in processes.log(process)
    assert "action=listening" not in processes.log(process)


def test_all_processors_for_a_student_that_needs_them(processes: Processes) -> None:
    """One that is configured to run as many threads stays on all of them."""
    ours = os.sched_getaffinity(0)
    process = processes.start(threads=len(ours))
    assert os.sched_getaffinity(process.pid) == ours


def test_it_leaves_the_processor_to_the_gateway(processes: Processes) -> None:
    """The process runs at lower priority, off one processor, and under its memory ceiling."""
    process = processes.start(memory_limit_bytes=2**30)
    ours = os.sched_getaffinity(0)
    assert os.sched_getaffinity(process.pid) == (ours - {min(ours)} or ours)
    lower = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)  # none is lower than 19
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == lower
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert any(line.startswith("Max data size") and str(2**30) in line for line in limits.splitlines())


async def test_an_input_beyond_the_memory_ceiling_fails_alone(processes: Processes, control: Engine) -> None:
    """A text for which the model wants a gigabyte is an error; the process lives and answers the next."""
    classes = [f"class{n}" for n in range(30_000)]
    tiny = tiny_artifact(
        processes.data_directory, classes, keywords={"dogs": ("class1", 0.9)}, max_tokens=4000
    )
    register(control, tiny)
    process = processes.start(memory_limit_bytes=512 * 2**20)
    wait_until_loaded(control, tiny.artifact)
    huge = await ask(processes, tiny.artifact, "word " * 4000)
    assert not isinstance(huge, Refusal)
    assert huge[0].error is ObservationError.STUDENT_FAILED
    for words in (1, 400, 1):  # up to a tenth of what is too much
        small = await ask(processes, tiny.artifact, "dogs " * words)
        assert not isinstance(small, Refusal)
        assert small[0].top == 1
    assert process.poll() is None


def test_callers_go_before_the_shadow(processes: Processes, control: Engine) -> None:
    """A request that a caller waits for is answered before shadow requests that were there first."""
    tiny = put_into_shadow(processes, control, busy_rounds=50)
    processes.start(max_batch_tokens=64)
    wait_until_loaded(control, tiny.artifact)
    shadow = b"".join(frame(id, tiny.artifact, ("dogs",) * 60) for id in range(1, 21))
    caller = frame(99, tiny.artifact, ("cats",), urgent=True)
    replies = list(exchange_frames(processes.socket, shadow + caller, 21))
    assert replies.index(99) < 3
    assert sorted(replies) == [*range(1, 21), 99]


def test_a_run_is_ended_from_outside(processes: Processes) -> None:
    """Its inputs fail, those of the next batch are answered: by the process's own session, ended from outside."""
    tiny = tiny_artifact(processes.data_directory, CLASSES, busy_rounds=600)
    student = Student.load(tiny.folder, tiny.manifest_digest, StudentSection(run_seconds=60))
    rows = student.tokenize(["dogs"])
    options = quiet_run()
    ending = threading.Timer(0.05, setattr, (options, "terminate", True))
    ending.start()
    observations = student.infer(rows * 3, options)
    ending.join()
    assert [one.error for one in observations] == [ObservationError.STUDENT_FAILED] * 3
    assert student.infer(rows)[0].top == 1


def test_an_artifact_that_kills_the_process_while_it_is_loaded_is_set_aside(
    processes: Processes, control: Engine
) -> None:
    """The next process says so and answers for the others, instead of dying again and again."""
    good = put_into_shadow(processes, control)
    bad = put_into_shadow(processes, control, seed=2, busy_rounds=2**62)  # its warm-up would take for ever
    first = processes.start(run_seconds=600.0)
    mark = processes.data_directory / "run" / "student.loading"
    wait_for(lambda: mark.exists() and bad.artifact in mark.read_text())
    first.kill()
    first.wait()
    second = processes.start(run_seconds=600.0)
    wait_until_loaded(control, good.artifact)
    wait_for(lambda: bad.artifact in student_report(control)["problems"])
    assert "ended while it loaded" in student_report(control)["problems"][bad.artifact]
    assert "action=suspect" in processes.log(second)
    assert not mark.exists()


def test_a_load_without_end_ends_the_process_and_is_set_aside(processes: Processes, control: Engine) -> None:
    """After student.load_seconds; the next process finds the mark and answers for the others."""
    bad = put_into_shadow(processes, control, busy_rounds=2**62)
    first = processes.start(run_seconds=600.0, load_seconds=0.5)
    assert first.wait(DEADLINE_SECONDS) == 1
    assert "was not loaded within 0.5 s" in processes.log(first)
    processes.start(run_seconds=600.0, load_seconds=30.0)
    wait_for(lambda: bad.artifact in student_report(control)["problems"])
