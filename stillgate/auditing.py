"""`stillgate audit verify`: whether the audit log still is what was written, read from the control file."""

from pathlib import Path
from typing import Annotated

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import func, select

from ledger.audit import first_broken_audit_row
from ledger.control_file import control_path, open_control_file_read_only, transaction
from ledger.tables import AuditRow
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, configuration_of, fail, out


def audit_verify(config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG) -> None:
    """Follow the chain of digests. Exit 0 if it is whole, 1 with the first row that is not."""
    directory = configuration_of(config).deployment.data_directory
    if not control_path(directory).is_file():
        fail(f"{directory} has no control file; `stillgate up` makes one", Exit.FAILED)
    try:
        with transaction(open_control_file_read_only(directory)) as session:
            rows = session.exec(select(func.count()).select_from(AuditRow)).one()
            broken = first_broken_audit_row(session)
            head = session.exec(select(AuditRow.digest).order_by(AuditRow.number.desc()).limit(1)).first()  # type: ignore[union-attr]
    except SQLAlchemyError as error:
        fail(f"the control file in {directory} cannot be read: {error}", Exit.FAILED)
    if broken is not None:
        fail(f"row {broken} of the audit log does not follow from the rows before it", Exit.FAILED)
    out.print(f"{rows} rows, head {head or 'none'}")
