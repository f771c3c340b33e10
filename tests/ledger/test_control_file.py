"""A control file of an earlier release is brought up without losing what is in it."""

from pathlib import Path

from sqlalchemy import text
from sqlmodel import Session, select

from ledger.control_file import MIGRATIONS, open_control_file
from ledger.labels import keep_label
from ledger.tables import AlarmRow, DetectorRow, LabelRow, LabelWatchRow

BEFORE_LABELS_WEIGHED = 4  # schema version

EARLIER = """
DROP TABLE label_watch;
ALTER TABLE label DROP COLUMN probability;
ALTER TABLE alarm DROP COLUMN harm;
DROP TABLE detector;
CREATE TABLE detector (
    task VARCHAR NOT NULL, artifact VARCHAR NOT NULL, slice VARCHAR NOT NULL, state JSON NOT NULL,
    PRIMARY KEY (task, artifact, slice));
INSERT INTO detector VALUES ('desk', 's-1', 'all', '{"kept": 1}');
INSERT INTO label (exchange_id, input_index, label, arrived_at_us, source) VALUES ('g0-1', 0, 'a', 1, 'x');
INSERT INTO alarm (task, slice, artifact, at_us, decision, receipt) VALUES ('desk', 'all', 's-1', 1, 'd', '{}');
"""


def test_detectors_labels_and_alarms_are_taken_over(tmp_path: Path) -> None:
    """Detectors watched disagreement, labels were of exchanges that were certain to be chosen."""
    engine = open_control_file(tmp_path)
    with engine.begin() as connection:
        for statement in filter(str.strip, EARLIER.split(";")):
            connection.execute(text(statement))
        connection.execute(text(f"PRAGMA user_version = {BEFORE_LABELS_WEIGHED}"))
    engine.dispose()

    for _ in range(2):  # the second time nothing is left to do
        engine = open_control_file(tmp_path)
        with Session(engine) as session:
            detector = session.exec(select(DetectorRow)).one()
            assert (detector.slice, detector.harm, detector.state) == ("all", "disagreement", {"kept": 1})
            assert session.exec(select(LabelRow)).one().probability == 1.0
            assert session.exec(select(AlarmRow)).one().harm == "disagreement"
            assert session.exec(select(LabelWatchRow)).all() == []
            assert session.connection().execute(text("PRAGMA user_version")).scalar() == len(MIGRATIONS)
        engine.dispose()

    with Session(engine) as session, session.begin():
        assert keep_label(session, "g0-1", 0, "a", "y") == "duplicate"
        assert keep_label(session, "g0-1", 0, "a", "y", 0.5) == "corrected"
