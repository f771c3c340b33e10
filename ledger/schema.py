"""The schema version of a file (SQLite's user_version) and the numbered steps that bring an older one up."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, MetaData, text

Migration = Callable[[Connection], None]


class SchemaTooNew(Exception):
    """The file was written by a later release."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema version {found}; this release knows up to {known}. Run the newer release."
        )


def m001_initial(metadata: MetaData) -> Migration:
    """Create every table as first released."""
    return metadata.create_all


def add_column(table: str, column: str, declaration: str) -> Migration:
    """A column that files of an earlier release lack; a new file has it from its first step."""

    def step(connection: Connection) -> None:
        present = [row[1] for row in connection.execute(text(f"PRAGMA table_info({table})"))]
        if column not in present:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN {column} {declaration}"))

    return step


def migrate(connection: Connection, path: str, migrations: Sequence[Migration]) -> None:
    """Apply the steps that the file has not seen, each once, inside the caller's transaction."""
    found = connection.execute(text("PRAGMA user_version")).scalar_one()
    if found > len(migrations):
        raise SchemaTooNew(path, found, len(migrations))
    for number, step in enumerate(migrations[found:], start=found + 1):
        step(connection)
        connection.execute(text(f"PRAGMA user_version = {number}"))
