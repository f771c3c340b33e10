"""The page: well formed, self-contained, inert whatever callers sent, and readable at any size."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from ledger.spots import spot_of
from monitor.drawing.markup import element, text, visible
from monitor.statistics import references_of
from monitor.sums import SliceSums, merged
from tests.gateway.control.desk import raise_alarm
from tests.monitor.world import A, build_pair
from tests.stillgate.report.stopped import Stopped, some_traffic

HOSTILE = (
    '</style></script><script>alert(1)</script><img src=x onerror="alert(2)">',
    "\u202e drowssap \u2066 \u200b \x00 \x1b[31m ]]> -->",
    "{{7*7}} ${jndi:ldap://x} &lt;b&gt; &amp; '\"`",
    "Z" + "\u0300" * 500,
    "\ufeff\u2028line\u2029paragraph\U000e0041",
)


def tree_of(page: str) -> ElementTree.Element:
    """HTML as this page is written is XML too."""
    return ElementTree.fromstring(page.removeprefix("<!doctype html>\n"))


def checked(page: str) -> ElementTree.Element:
    """Nothing runs, nothing is fetched, every image has its words and every id is one of a kind."""
    tree = tree_of(page)
    tags = {one.tag for one in tree.iter()}
    assert not tags & {"script", "img", "iframe", "object", "link", "base", "form", "foreignObject", "use"}
    attributes = [(name, value) for one in tree.iter() for name, value in one.attrib.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src")]
    assert all(value.startswith("#") for name, value in attributes if name == "href")
    assert "url(" not in page
    assert "@import" not in page
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for image in tree.iter("svg"):
        assert set(image.attrib["aria-labelledby"].split()) <= set(ids)
    assert not re.search(
        "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", page
    )
    return tree


def test_a_report_refers_to_nothing_outside_itself(stopped: Stopped) -> None:
    """No script, no style but its own, no address but places on the page."""
    artifact = stopped.add_student()
    stopped.write(some_traffic(300, artifact))
    raise_alarm(stopped.engine, artifact, "area=new")
    stopped.tick()
    page = stopped.page()
    assert len(list(checked(page).iter("svg"))) > 5
    assert "The teacher changed: version 2 answers since" in page
    assert "120 rows of area=eu since the change" in page
    assert "http://" not in page
    assert "https://" not in page


def test_inputs_stand_beside_the_rows_of_the_gate(stopped: Stopped) -> None:
    """In a table of their own, red where they moved; a student without a reference has none."""
    gate = merged(
        SliceSums.of_pair(build_pair(A, A._replace(spot=spot_of(0, 0)), words=900)) for _ in range(200)
    )
    moved, bare = stopped.add_student(reference=references_of({"all": gate})), stopped.add_student(seed=2)
    rows = some_traffic(200, moved)
    spots = [answer.observations[0]._replace(spot=spot_of(5, 3)) for _, answer in rows]
    told = [(row[0], row[1]._replace(observations=(said,))) for row, said in zip(rows, spots, strict=True)]
    stopped.write(told)
    stopped.tick()
    page = stopped.page("--student", moved)
    (table,) = (
        one for one in checked(page).iter("table") if "How far the input lies" in "".join(one.itertext())
    )
    head = [cell.text for cell in table.iter("th")]
    (line,) = (row for row in table.iter("tr") if row.find("td") is not None)
    cells = dict(zip(head, line.iter("td"), strict=True))
    for feature in ("words", "embedding region", "embedding distance"):
        assert [span.attrib["class"] for span in cells[feature].iter("span")] == ["below", "interval"]
    assert "How far the input lies" not in stopped.page("--student", bare)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_inputs_and_slices_are_inert(stopped: Stopped, hostile: str) -> None:
    """As a text, and as the value of a header that makes a slice."""
    rows = some_traffic(60, stopped.add_student(), inputs=(hostile,), attributes={"x-area": hostile})
    stopped.write(rows)
    stopped.tick()
    page = stopped.page()
    said = "".join(checked(page).itertext())
    assert visible(hostile)[:40] in said


@pytest.mark.parametrize("hostile", HOSTILE)
def test_attributes_and_texts_are_escaped_alike(hostile: str) -> None:
    """What goes in comes out of a parser as the same characters, those that hide written out."""
    tree = ElementTree.fromstring(
        element("p", {"title": hostile}, hostile, None, element("b", None, hostile))
    )
    assert tree.attrib["title"] == tree.text == visible(hostile)
    assert text(text(hostile)) == text(hostile)


def test_many_slices_are_cut_with_a_sentence(stopped: Stopped) -> None:
    """Forty in the table, the number of the others below it, all of them as JSON."""
    artifact = stopped.add_student()
    rows = some_traffic(300, artifact)
    stopped.write(
        [(row[0]._replace(attributes={"x-area": f"area {n}"}), row[1]) for n, row in enumerate(rows)]
    )
    stopped.tick()
    document = stopped.document()
    page = stopped.page()
    assert len(document["slices"]) == 202  # all, 200 values and `other`
    (other,) = (line for line in document["slices"] if line["report"]["slice"] == "area=other")
    assert (other["report"]["pairs"], other["requests"], other["coverage_share"]) == (100, 100, 1.0)
    assert "162 more slices are left out here; the JSON report has all 202." in page
    assert (
        sum("area=" in row for row in re.findall(r"<tr>.*?</tr>", page.partition("Why each verdict")[0]))
        == 39
    )


@pytest.mark.parametrize("arguments", [(), ("--no-texts",)])
def test_texts_appear_only_where_they_may(stopped: Stopped, arguments: tuple[str, ...]) -> None:
    """The task stores them here; --no-texts leaves digests, and nothing of the texts in either form."""
    stopped.write(some_traffic(60, stopped.add_student(), inputs=("a secret of " + "x" * 1000,)))
    stopped.tick()
    made = stopped.page(*arguments) + stopped.report(*arguments, "--json", "-").stdout
    assert ("a secret" in made, "An erasure does not reach" in made) == ((not arguments,) * 2)
    assert "x" * 301 not in made


def test_a_task_that_stores_nothing_shows_digests(stopped: Stopped) -> None:
    """Also where an exchange of an earlier configuration still has its text."""
    stopped.path.write_text(stopped.path.read_text().replace('inputs = "text"', 'inputs = "nothing"'))
    stopped.write(some_traffic(60, stopped.add_student(), inputs=("a secret",)))
    stopped.tick()
    page = stopped.page()
    assert "a secret" not in page
    assert "digest" in page


def test_a_page_without_anything_says_so(stopped: Stopped) -> None:
    """No student, no traffic: every section has a sentence and the page is whole."""
    tree = checked(stopped.page())
    said = "".join(tree.itertext())
    assert "cannot say" in said
    assert "No student is registered yet." in said
    assert not list(tree.iter("svg"))
