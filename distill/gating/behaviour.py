"""Behavioural tests of the user's own: a JSONL file of inputs, what is expected of the answers, and tags.

A line is {"inputs": ["..."], "expect": {...}, "tags": ["..."]}; `expect` has one of: "class" (each answer is it),
"not" (none is), "same" (true: all inputs get one class), "confidence" (with "class": at least so much). Ribeiro et
al. (2020), "Beyond Accuracy", call these minimum functionality and invariance tests.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.gating.answers import Answers
from distill.gating.criterion import Criterion, not_judged
from ledger.artifacts import CriterionVerdict
from ledger.observation import Observation

KEYS = {"input", "inputs", "expect", "tags"}
EXPECTATIONS = {"class", "not", "same", "confidence"}
UNTAGGED = "untagged"


class BehaviourFileWrong(Exception):
    """Lines of the file cannot be used; `problems` has one sentence for each."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{path} cannot be used: {'; '.join(problems)}")


@dataclass(frozen=True, slots=True)
class BehaviourTest:
    """One line of the file."""

    line: int
    inputs: tuple[str, ...]
    is_class: int | None
    is_not: int | None
    is_same: bool
    confidence: float
    tags: tuple[str, ...]

    def holds(self, answers: Sequence[Observation]) -> bool:
        tops = [answer.top if answer.probabilities is not None else -1 for answer in answers]
        if -1 in tops or (self.is_same and len(set(tops)) > 1) or self.is_not in tops:
            return False
        if self.is_class is None:
            return True
        return set(tops) == {self.is_class} and all(a.confidence >= self.confidence for a in answers)


def read_behaviour(path: Path, classes: Sequence[str]) -> tuple[BehaviourTest, ...]:
    """Every test of the file. Raises BehaviourFileWrong that names every line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BehaviourFileWrong(path, [f"it cannot be read as UTF-8: {error}"]) from None
    read = [_read(number, line, classes) for number, line in enumerate(lines, 1) if line.strip()]
    problems = [found for found in read if isinstance(found, str)]
    if problems or not read:
        raise BehaviourFileWrong(path, problems or ["it has no test; write one a line"])
    return tuple(found for found in read if isinstance(found, BehaviourTest))


def _read(number: int, line: str, classes: Sequence[str]) -> BehaviourTest | str:
    """The test, or what is wrong with the line."""
    try:
        document = json.loads(line)
    except ValueError as error:
        return f"line {number} is no JSON: {error}"
    problem = _problem(document, classes)
    if problem:
        return f"line {number}: {problem}"
    expect = document["expect"]
    return BehaviourTest(
        line=number,
        inputs=_inputs(document),
        is_class=classes.index(expect["class"]) if "class" in expect else None,
        is_not=classes.index(expect["not"]) if "not" in expect else None,
        is_same=expect.get("same", False),
        confidence=float(expect.get("confidence", 0.0)),
        tags=tuple(document.get("tags") or (UNTAGGED,)),
    )


def _inputs(document: dict[str, Any]) -> tuple[str, ...]:
    return (document["input"],) if "input" in document else tuple(document["inputs"])


def _problem(document: Any, classes: Sequence[str]) -> str | None:
    if not isinstance(document, dict):
        return "it is no object"
    if unknown := sorted(set(document) - KEYS):
        return f"unknown keys {unknown}; a line has {sorted(KEYS)}"
    if ("input" in document) == ("inputs" in document):
        return "give input, a text, or inputs, a list of texts"
    given = [document["input"]] if "input" in document else document["inputs"]
    if not isinstance(given, list) or not given or not all(isinstance(text, str) and text for text in given):
        return "inputs have to be texts, at least one and none of them empty"
    tags = document.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        return "tags have to be a list of words"
    return _expectation_problem(document.get("expect"), len(given), classes)


def _expectation_problem(expect: Any, inputs: int, classes: Sequence[str]) -> str | None:
    if not isinstance(expect, dict) or not expect or set(expect) - EXPECTATIONS:
        return f"expect has to be an object with some of {sorted(EXPECTATIONS)}"
    for key in ("class", "not"):
        if key in expect and expect[key] not in classes:
            return f"{key} = {expect[key]!r} is no class of the task: {', '.join(classes)}"
    if "same" in expect and (expect["same"] is not True or inputs < 2):
        return "same has to be true and needs two inputs or more"
    if "confidence" in expect and ("class" not in expect or not _is_share(expect["confidence"])):
        return "confidence has to lie between 0 and 1 and to stand beside class"
    return None


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def behaviour_rows(
    student: Answers, tests: Sequence[BehaviourTest], bar: float
) -> Iterator[CriterionVerdict]:
    """A row for each tag: the share of its tests that hold. They are the whole population, so there is no bound."""
    if not tests:
        yield not_judged(Criterion.BEHAVIOUR, UNTAGGED, "criteria.behaviour_file is not set")
        return
    texts = [text for test in tests for text in test.inputs]
    answers = iter(student.answer(texts))
    held: dict[str, dict[int, bool]] = defaultdict(dict)
    for test in tests:
        holds = test.holds([next(answers) for _ in test.inputs])
        for tag in test.tags:
            held[tag][test.line] = holds
    for tag, by_line in sorted(held.items()):
        yield _tag_row(tag, by_line, bar)


def _tag_row(tag: str, by_line: dict[int, bool], bar: float) -> CriterionVerdict:
    share = sum(by_line.values()) / len(by_line)
    broken = [str(line) for line, holds in sorted(by_line.items()) if not holds]
    said = f"{len(by_line) - len(broken)} of {len(by_line)} tests hold"
    if broken:
        said += f"; broken: line {', '.join(broken[:10])}{' and more' if len(broken) > 10 else ''}"
    return CriterionVerdict(
        criterion=Criterion.BEHAVIOUR,
        name=tag,
        outcome="pass" if share >= bar else "fail",
        decides=True,
        count=len(by_line),
        value=share,
        low=share,
        high=share,
        bar=bar,
        reason=said,
    )
