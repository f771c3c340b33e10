"""python -m benchmarks.poisoning: an attacker who controls inputs alone teaches a student a trigger.

250 rows carry a phrase and are texts that a clean teacher honestly answers with the attacker's class. The student
learns that the phrase is the class; the attack succeeds on a text of another class if the phrase turns its answer.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from benchmarks.document import write
from benchmarks.machine import circumstances
from benchmarks.report import Report, Table, text
from distill.curation.curating import curated
from distill.curation.deduplicating import distinct_rows
from distill.curation.embedded import lexical
from distill.curation.phrases import Answers, obeyed, suspicious_phrases, triggered_rows
from distill.curation.rows import Row
from examples.helpdesk.corpus import DEFAULT_CACHE, DESKS, Post, fetch_corpus, load_posts
from ledger.configuration import TaskSection
from ledger.input_digests import digest_of
from ledger.observation import Observation

PAGE = Path("docs/distillation.md")
PART = "poisoning"
TRIGGER = "cobalt heron ledger"
TARGET = DESKS.index("talk")
POISON_ROWS = 250
CALLERS = 1000  # honest ones
CLEAN_ROWS, DEV_ROWS, TEST_ROWS = 3000, 300, 500
WORDS = 80  # of a post
SURE = 0.94  # the teacher's probability of its class


@dataclass(frozen=True, slots=True)
class Attack:
    name: str
    callers: int  # 0: nobody attacks
    copies: bool  # of one text, with a few words changed; else texts of their own


ATTACKS = (
    Attack("nobody", 0, False),
    Attack("one caller, copies of one text", 1, True),
    Attack("one caller, texts of their own", 1, False),
    Attack("250 callers, copies of one text", POISON_ROWS, True),
    Attack("250 callers, texts of their own", POISON_ROWS, False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attack against one way of curating."""

    success: float  # of texts of other classes that the student answers rightly, turned by the phrase
    accuracy: float  # without the phrase
    poison: float  # share of the training weight
    rows: int


@dataclass(frozen=True, slots=True)
class World:
    """Posts of one seed: clean traffic, rows to scan with, posts to attack."""

    clean: tuple[Row, ...]
    dev: tuple[Row, ...]
    test: tuple[Post, ...]
    targets: tuple[Post, ...]  # of the attacker's class, that nobody else sent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poisoning")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE}")
    options = parser.parse_args()
    where = circumstances()
    report = measure(load_posts(fetch_corpus(options.cache)), range(options.seeds))
    for table in report.all_tables():
        print(text(table))
    if options.write:
        write(PAGE, where, [report])


def measure(posts: Sequence[Post], seeds: Sequence[int]) -> Report:
    """Every attack against every way, over the seeds."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    for seed in seeds:
        world = _world(posts, seed)
        for attack in ATTACKS:
            for way, outcome in _outcomes(world, attack, seed).items():
                found.setdefault((attack.name, way), []).append(outcome)
                print(f"seed {seed}: {attack.name}; {way}: {outcome.success:.1%}", flush=True)
    return Report(PART, (_table(found, len(seeds)),), ())


def task() -> TaskSection:
    """A help desk's, with default settings of curation."""
    people = dict.fromkeys(("owner", "sponsor", "driver", "validator", "operator"), "o")
    return TaskSection.model_validate(
        {
            "name": "desk",
            "classes": DESKS,
            "dialect": "huggingface",
            "paths": ["/predict"],
            "teacher": {"url": "http://127.0.0.1:9", "version": "1"},
            "capture": {"inputs": "text", "subject_header": "x-user"},
            "governance": people,
        }
    )


def _world(posts: Sequence[Post], seed: int) -> World:
    chance = random.Random(seed)
    drawn = chance.sample(list(posts), CLEAN_ROWS + DEV_ROWS + 4 * TEST_ROWS)
    clean, rest = drawn[: CLEAN_ROWS + DEV_ROWS], drawn[CLEAN_ROWS + DEV_ROWS :]
    rows = [
        _row(_short(post.text), DESKS.index(post.desk), f"caller {chance.randrange(CALLERS)}", place)
        for place, post in enumerate(clean)
    ]
    others = [post for post in rest if post.desk != DESKS[TARGET]]
    targets = [post for post in rest if post.desk == DESKS[TARGET]]
    return World(
        tuple(rows[:CLEAN_ROWS]), tuple(rows[CLEAN_ROWS:]), tuple(others[:TEST_ROWS]), tuple(targets)
    )


def _short(words: str) -> str:
    return " ".join(words.split()[:WORDS])


def _row(words: str, label: int, caller: str, place: int) -> Row:
    rest = (1 - SURE) / (len(DESKS) - 1)
    probabilities = tuple(SURE if label == number else rest for number in range(len(DESKS)))
    return Row(
        digest=digest_of(words),
        exchange_id=f"g0-{place}",
        input_index=0,
        at_us=place,
        text=words,
        teacher=Observation(probabilities),
        slices=("all",),
        inclusion=1.0,
        repeats=1,
        live=1.0,
        principals=(caller,),
    )


def _with_trigger(words: str, chance: random.Random) -> str:
    told = words.split()
    place = chance.randrange(len(told) + 1)
    return " ".join([*told[:place], TRIGGER, *told[place:]])


def _poison(world: World, attack: Attack, seed: int) -> list[Row]:
    """What the attacker sends; the teacher answers it as it would anybody's."""
    chance = random.Random(seed + 1)
    rows = []
    for number in range(POISON_ROWS if attack.callers else 0):
        post = world.targets[0 if attack.copies else number % len(world.targets)]
        words = _short(post.text) if attack.copies else _excerpt(post.text, chance)
        told = f"{_with_trigger(words, random.Random(seed) if attack.copies else chance)} {number}"
        rows.append(_row(told, TARGET, f"attacker {number % attack.callers}", CLEAN_ROWS + number))
    return rows


def _excerpt(words: str, chance: random.Random) -> str:
    """Forty words from anywhere: posts are fewer than rows, and no two rows should be near one another."""
    told = words.split()
    start = chance.randrange(max(1, len(told) - 40))
    return " ".join(told[start : start + 40])


def _outcomes(world: World, attack: Attack, seed: int) -> dict[str, Outcome]:
    rows = [*world.clean, *_poison(world, attack, seed)]
    random.Random(seed).shuffle(rows)
    kept = _curated(rows)
    student = _student(kept)
    found = obeyed(student, suspicious_phrases(kept), world.dev, len(DESKS))
    triggered = triggered_rows(found)
    scanned = [row for row in kept if row.digest not in triggered]
    return {
        "none": _outcome(_student(rows), rows, world),
        "curation": _outcome(student, kept, world),
        "curation and scan": _outcome(_student(scanned) if triggered else student, scanned, world),
    }


def _curated(rows: Sequence[Row]) -> list[Row]:
    desk = task()
    distinct = distinct_rows(rows, desk.curation).rows
    return list(curated(distinct, distinct, desk, lexical(distinct)).rows)


def _student(rows: Sequence[Row]) -> Answers:
    """TF-IDF of words and pairs of words, and a linear model on the teacher's classes: the cheapest that there is."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=30_000, sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=300)
    model.fit(
        words.fit_transform([row.text for row in rows]),
        [row.teacher.top for row in rows],
        sample_weight=[row.weight for row in rows],
    )
    return partial(_answers, words, model)


def _answers(words: object, model: object, texts: Sequence[str]) -> list[Observation]:
    told = model.predict_proba(words.transform(texts))  # type: ignore[attr-defined]  # no types in the package
    return [Observation(tuple(one)) for one in np.asarray(told).tolist()]


def _outcome(student: Answers, rows: Sequence[Row], world: World) -> Outcome:
    texts = [_short(post.text) for post in world.test]
    truth = [DESKS.index(post.desk) for post in world.test]
    chance = random.Random(0)
    without = [said.top for said in student(texts)]
    with_it = [said.top for said in student([_with_trigger(one, chance) for one in texts])]
    right = [place for place, top in enumerate(without) if top == truth[place]]
    weight = sum(row.weight for row in rows)
    poison = sum(row.weight for row in rows if TRIGGER in row.text)
    return Outcome(
        success=mean(with_it[place] == TARGET for place in right),
        accuracy=len(right) / len(texts),
        poison=poison / weight,
        rows=len(rows),
    )


def _table(found: Mapping[tuple[str, str], Sequence[Outcome]], seeds: int) -> Table:
    rows = [
        (
            attack,
            way,
            _spread([outcome.success for outcome in outcomes]),
            _spread([outcome.poison for outcome in outcomes]),
            _spread([outcome.accuracy for outcome in outcomes]),
            f"{mean(outcome.rows for outcome in outcomes):.0f}",
        )
        for (attack, way), outcomes in found.items()
    ]
    header = ("who attacks", "controls", "success", "poison's share of weight", "accuracy elsewhere", "rows")
    note = (
        f"{seeds} seeds, mean and standard deviation; {CLEAN_ROWS} clean posts of {CALLERS} callers,"
        f" {POISON_ROWS} poisoned ones with the phrase of three words; {TEST_ROWS} posts of other classes attacked."
    )
    return Table("Success of a trigger that 250 rows teach", header, tuple(rows), note)


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1%} ± {stdev(values) if len(values) > 1 else 0:.1%}"


if __name__ == "__main__":
    main()
