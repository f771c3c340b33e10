"""The card: what a person reads of a student, inert whatever slices are called; and the bill of materials."""

import json
from collections.abc import Iterator

import pytest

from distill.registration.card import card_of
from distill.registration.card_files import markdown_of, page_of
from distill.registration.sbom import sbom_of
from ledger.artifacts import CriterionVerdict, SliceVerdict
from ledger.control_file import open_control_file
from tests.distill.desk import configuration_of
from tests.distill.registration.published import Published, publish_student
from tests.stillgate.report.test_page import checked

HOSTILE = "</td><script>alert(1)</script>| `x` \u202e\n# head"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("card")
    configuration = configuration_of(folder)
    engine = open_control_file(configuration.deployment.data_directory)
    yield publish_student(configuration, engine)
    engine.dispose()


def test_the_page_has_its_plots_and_nothing_from_outside(published: Published) -> None:
    """Slices with their bars, reliability, risk and coverage; no script, no address."""
    page = (published.folder / "model_card.html").read_text()

    titles = [one.text for one in checked(page).iter("title")]
    for said in ("Agreement by slice", "Reliability of all against the teacher", "Risk and coverage of all"):
        assert said in titles
    assert "passed its gate" in page.lower()


def test_the_card_says_who_answers_and_what_it_does_not_say(published: Published) -> None:
    """Licence, signature and fairness by name; criteria without a bar by name too."""
    text = (published.folder / "MODEL_CARD.md").read_text()

    assert "The teacher's terms permit distillation, as o decided on 2026-01-02" in text
    assert "The gate was signed by s (standing policy of [task.governance])" in text
    assert "There are no protected groups, as o declared on 2026-01-02: no people" in text
    assert "Not judged, because no bar is set or nothing was there to judge by: negative flips" in text


def test_front_matter_is_what_hugging_face_reads(published: Published) -> None:
    """Its own parser finds the metric of the locked rows."""
    from huggingface_hub import ModelCard

    facts = ModelCard.load(published.folder / "MODEL_CARD.md").data

    assert (facts.pipeline_tag, facts.library_name) == ("text-classification", "onnx")
    assert facts.eval_results is not None
    assert facts.eval_results[0].metric_value == 1.0


def test_a_slice_of_any_name_stays_text(published: Published) -> None:
    """On the page, and in the cells and lines of the Markdown file."""
    verdict = published.manifest.gate.verdicts[0].model_copy(update={"slice": HOSTILE, "reason": HOSTILE})
    row = CriterionVerdict(
        criterion="behaviour",
        name=HOSTILE,
        outcome="fail",
        decides=True,
        count=1,
        value=0.5,
        low=None,
        high=None,
        bar=1.0,
        reason=HOSTILE,
    )
    gate = published.manifest.gate.model_copy(update={"verdicts": (verdict,), "criteria": (row,)})
    manifest = published.manifest.model_copy(update={"gate": gate})
    card = card_of(manifest, {}, {"model.onnx": 1})

    checked(page_of(card))
    written = markdown_of(card, manifest)
    assert "<script>" not in written
    assert "\n# head" not in written
    assert all(
        line.count("|") - line.count("\\|") == 8
        for line in written.splitlines()
        if "alert" in line and line[0] == "|"
    )


def test_a_student_without_rows_has_a_card_too(published: Published) -> None:
    """Nothing is divided by nothing."""
    empty = SliceVerdict(
        slice="all",
        outcome="inconclusive",
        pairs=0,
        agreements=0,
        lower_bound=0.0,
        bar=0.8,
        critical=True,
        reason="no",
    )
    gate = published.manifest.gate.model_copy(update={"outcome": "inconclusive", "verdicts": (empty,)})
    manifest = published.manifest.model_copy(update={"gate": gate})

    checked(page_of(card_of(manifest, {}, {})))


def test_the_bill_of_materials_names_model_data_and_packages(published: Published) -> None:
    """With their digests; the same student gives the same text."""
    text = (published.folder / "sbom.cdx.json").read_text()
    bill = json.loads(text)

    model = bill["metadata"]["component"]
    assert (bill["specVersion"], model["type"]) == ("1.6", "machine-learning-model")
    assert model["hashes"][0]["content"] == published.files["model.onnx"]
    assert {"data", "library"} == {one["type"] for one in bill["components"]}
    assert any(one.get("purl", "").startswith("pkg:pypi/numpy@") for one in bill["components"])
    packages = json.loads((published.folder / "run.json").read_text())["packages"]
    assert sbom_of(published.manifest, published.files, packages) == text
