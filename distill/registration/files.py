"""Names of the files that lie beside a student's model, tokenizer and manifest."""

LOCK, REPORT, PARITY, CALIBRATION = "gate.lock.json", "gate.report.json", "parity.json", "calibration.json"
DATA, TEACHER, LICENCE = "data.manifest.json", "teacher.json", "license_record.json"
LINEAGE, RUN, LABELS, SBOM = "lineage.json", "run.json", "labels.json", "sbom.cdx.json"
CARD, CARD_PAGE = "MODEL_CARD.md", "model_card.html"
