"""`stillgate students list|show|diff|verify|export`: registered students, from the files of the deployment alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from distill.registration.difference import difference_of
from distill.registration.hugging_face import write_hugging_face
from distill.registration.tampering import difference
from gateway.control.student_view import student_view
from ledger.artifacts import MODEL_FILE, ArtifactError, Manifest, artifact_folder, read_verified, verify
from ledger.configuration import Configuration
from ledger.control_file import control_path
from ledger.schema import SchemaTooNew
from ledger.tables import StudentRow
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, configuration_of, fail, out
from stillgate.report.snapshot import control_snapshot
from stillgate.show import show_student
from stillgate.show_students import show_checks, show_difference, show_list
from stillgate.watching import Output, OutputOption, print_as
from student.graph_check import check_graph
from student.signature import check_signature

ArtifactArgument = Annotated[str, typer.Argument(help="Name of the student, e.g. s-0123456789ab.")]
ConfigPath = Annotated[Path, ConfigOption]


def students_list(
    task: Annotated[str | None, typer.Option("--task", help="Of this task alone.")] = None,
    output: OutputOption = Output.TABLE,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """List registered students, the newest first."""
    configuration = configuration_of(config)
    with _opened(configuration) as session:
        rows = [row for row in _rows(session) if task is None or row.task == task]
        views = [_view(session, configuration, row) for row in rows]
    document = {"students": [_in_short(view) for view in views]}
    print_as(document, output, show_list(document))


def students_show(
    artifact: ArtifactArgument, output: OutputOption = Output.TABLE, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Show a student's gate report, certificate and lineage."""
    configuration = configuration_of(config)
    with _opened(configuration) as session:
        document = _view(session, configuration, _row(session, artifact))
    print_as(document, output, show_student(document))


def students_diff(
    old: ArtifactArgument,
    new: ArtifactArgument,
    output: OutputOption = Output.TABLE,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Show what differs between two students: slices, criteria, rows, settings, packages."""
    configuration = configuration_of(config)
    with _opened(configuration) as session:
        rows = [_row(session, artifact) for artifact in (old, new)]
    manifests = [_manifest(configuration, row) for row in rows]
    document = {"old": old, "new": new, **difference_of(*manifests)}
    print_as(document, output, show_difference(document))


def students_verify(
    artifacts: Annotated[list[str] | None, typer.Argument(help="Names; without any, every student.")] = None,
    output: OutputOption = Output.TABLE,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Check files, signature, lock, data manifest and licence record. Exit 0 if everything holds, else 1."""
    configuration = configuration_of(config)
    with _opened(configuration) as session:
        rows = [_row(session, artifact) for artifact in artifacts] if artifacts else _rows(session)
    checks = [{"artifact": row.artifact, "problem": problem_of(configuration, row)} for row in rows]
    document = {"students": checks, "signed": configuration.student.public_key is not None}
    print_as(document, output, show_checks(document))
    if any(check["problem"] for check in checks):
        raise typer.Exit(Exit.FAILED)


def students_export(
    artifact: ArtifactArgument,
    to: Annotated[Path, typer.Option("--to", help="A folder that does not exist yet.")],
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Write a student as a Hugging Face folder: tokenizer, classes, model card, ONNX file."""
    configuration = configuration_of(config)
    with _opened(configuration) as session:
        row = _row(session, artifact)
    manifest = _manifest(configuration, row)
    folder = artifact_folder(configuration.deployment.data_directory, artifact)
    try:
        write_hugging_face(folder, manifest, to)
    except FileExistsError:
        fail(f"{to} exists and is left as it is; choose another folder", Exit.FAILED)
    except OSError as error:
        fail(f"{to} cannot be written: {error.strerror}", Exit.FAILED)
    out.print(str(to), markup=False)


def problem_of(configuration: Configuration, row: StudentRow) -> str | None:
    """The first thing that does not hold, in a sentence."""
    directory, settings = configuration.deployment.data_directory, configuration.student
    folder = artifact_folder(directory, row.artifact)
    try:
        manifest = verify(folder, row.manifest_digest, settings.max_model_bytes)
        check_signature(folder, settings.public_key)
        check_graph(read_verified(folder, manifest, MODEL_FILE), str(folder / MODEL_FILE))
    except (ArtifactError, OSError) as error:
        return str(error)
    return difference(directory, folder, manifest)


@contextmanager
def _opened(configuration: Configuration) -> Iterator[Session]:
    directory = configuration.deployment.data_directory
    if not control_path(directory).is_file():
        fail(f"{directory} has no control file; `stillgate up` makes one", Exit.FAILED)
    try:
        with control_snapshot(directory) as session:
            yield session
    except (SQLAlchemyError, sqlite3.Error, SchemaTooNew, OSError) as error:
        fail(f"what lies in {directory} cannot be read: {error}", Exit.FAILED)


def _rows(session: Session) -> list[StudentRow]:
    return list(session.exec(select(StudentRow).order_by(col(StudentRow.registered_at_us).desc())))


def _row(session: Session, artifact: str) -> StudentRow:
    row = session.get(StudentRow, artifact)
    if row is None:
        fail(f"there is no student {artifact!r}; `stillgate students list` names them", Exit.USAGE)
    return row


def _view(session: Session, configuration: Configuration, row: StudentRow) -> dict[str, Any]:
    task = configuration.task_named(row.task)
    return student_view(session, configuration.deployment.data_directory, task, row)


def _manifest(configuration: Configuration, row: StudentRow) -> Manifest:
    """Of an artifact whose every file is as it was registered."""
    folder = artifact_folder(configuration.deployment.data_directory, row.artifact)
    try:
        return verify(folder, row.manifest_digest)
    except (ArtifactError, OSError) as error:
        fail(str(error), Exit.FAILED)


def _in_short(view: dict[str, Any]) -> dict[str, Any]:
    """What a list has room for."""
    manifest = view["manifest"]
    overall = (
        next((v for v in manifest["gate"]["verdicts"] if v["slice"] == "all"), None) if manifest else None
    )
    names = ("artifact", "task", "kind", "stage", "share", "gate_outcome", "parent", "job_id", "problem")
    return {
        **{name: view[name] for name in names},
        "precision": manifest["precision"] if manifest else None,
        "registered_at_us": view["registered_at_us"],
        "agreement": overall["agreements"] / overall["pairs"] if overall and overall["pairs"] else None,
        "lower_bound": overall["lower_bound"] if overall else None,
    }
