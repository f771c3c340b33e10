"""A card as a page of its own and as Markdown with the front matter of Hugging Face."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from distill.registration.card import Card, card_of
from distill.registration.card_sections import CardSection
from distill.registration.files import CARD, CARD_PAGE
from ledger.artifacts import Manifest
from monitor.drawing.markup import Markup, element, joined, visible
from monitor.drawing.shell import whole_page
from monitor.drawing.tables import card as framed
from monitor.drawing.tables import folded, paragraph, pill, table
from monitor.drawing.tables import name as named
from monitor.drawing.words import sentence
from monitor.sums import SliceSums

KINDS = {"pass": "good", "fail": "bad", "inconclusive": "wait"}
PILLS = {"pass": "good", "fail": "bad", "not provable": "wait", "no bar": "quiet", "not judged": "quiet"}
TOLD = "Told, and not judged"
FOOT = "Written by Stillgate when the student was made; docs/gate.md says what each row means."


def write_card(folder: Path, manifest: Manifest, sums: Mapping[str, SliceSums]) -> None:
    """Both files, from what the gate found and the files that lie in the folder."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    card = card_of(manifest, sums, sizes)
    (folder / CARD_PAGE).write_text(page_of(card), encoding="utf-8")
    (folder / CARD).write_text(markdown_of(card, manifest), encoding="utf-8")


def page_of(card: Card) -> str:
    links = [joined(element("a", {"href": f"#{one.name}"}, one.title), " ") for one in card.sections]
    figures = [element("div", None, element("b", None, value), name) for name, value in card.figures]
    header = element(
        "header",
        None,
        element("h1", None, card.title),
        element(
            "div",
            {"class_": f"state {KINDS[card.outcome]}", "role": "status"},
            element("p", None, sentence(card.headline)),
        ),
        element("div", {"class_": "figures"}, *figures),
        element("nav", {"aria_label": "Sections"}, *links),
    )
    main = element("main", None, *map(_section, card.sections))
    return whole_page(f"Model card: {card.title}", header, main, element("footer", None, FOOT))


def _section(one: CardSection) -> Markup:
    content = [paragraph(sentence(said)) for said in one.sentences]
    content += [framed(element("div", {"class_": "scroll"}, chart)) for chart in one.charts]
    if one.diagrams:
        content.append(element("div", {"class_": "cards"}, *map(framed, one.diagrams)))
    if one.rows:
        content.append(framed(table(one.columns, [_cells(row) for row in one.rows])))
    if one.told:
        content.append(folded(TOLD, framed(table(one.columns, [_cells(row) for row in one.told]))))
    return element(
        "section", {"id": one.name, "aria_label": one.title}, element("h2", None, one.title), *content
    )


def _cells(row: Sequence[str]) -> list[str]:
    """The first cell is a name; verdicts stand out."""
    return [named(row[0]), *(pill(cell, PILLS[cell]) if cell in PILLS else cell for cell in row[1:])]


def markdown_of(card: Card, manifest: Manifest) -> str:
    front = _front_matter(card, manifest)
    parts = [f"---\n{front}\n---", f"# {_escaped(card.title)}", _escaped(sentence(card.headline))]
    parts.append(_table(("figure", "value>"), card.figures))
    for one in card.sections:
        parts += [f"## {one.title}", *(_escaped(sentence(said)) for said in one.sentences)]
        parts += [_table(one.columns, one.rows)] if one.rows else []
        parts += [f"{TOLD}:", _table(one.columns, one.told)] if one.told else []
    return "\n\n".join([*parts, f"The plots are in {CARD_PAGE}. {FOOT}"]) + "\n"


def _front_matter(card: Card, manifest: Manifest) -> str:
    overall = next((one for one in manifest.gate.verdicts if one.slice == "all" and one.pairs), None)
    results = []
    if overall is not None:
        results.append(
            EvalResult(
                task_type="text-classification",
                dataset_type="stillgate",
                dataset_name=f"locked rows of {manifest.task}",
                metric_type="agreement",
                metric_name="agreement with the teacher",
                metric_value=round(overall.agreements / overall.pairs, 4),
            )
        )
    facts = ModelCardData(
        license="other",
        license_name="see license_record.json",
        library_name="onnx",
        pipeline_tag="text-classification",
        tags=["stillgate", "distillation", manifest.kind],
        model_name=card.title if results else None,
        eval_results=results or None,
    )
    return str(facts.to_yaml())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = f"| {' | '.join(column.removesuffix('>') for column in columns)} |"
    rule = f"|{'|'.join('---:' if column.endswith('>') else '---' for column in columns)}|"
    return "\n".join([head, rule, *(f"| {' | '.join(map(_escaped, row))} |" for row in rows)])


def _escaped(said: str) -> str:
    """Names come from callers: no cell, no line and no HTML begins in them."""
    plain = visible(said).replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;")
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")
