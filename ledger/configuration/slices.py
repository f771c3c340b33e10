"""Settings of a slice: the rule that says which inputs belong to it."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, get_args

from pydantic import Field, model_validator

from ledger.configuration.fields import Edges, FieldName, JsonPointer, Name, OpenShare, Section
from ledger.languages import LANGUAGES
from ledger.patterns import MAX_PATTERN_CHARACTERS, pattern_problem
from ledger.slice_values import is_time_zone
from ledger.slices import OVERALL, RuleKind, SliceRule


class SliceSection(Section):
    """One rule; which key says how it divides traffic is its kind."""

    name: Name
    header: FieldName | None = None
    pointer: Annotated[JsonPointer, Field(min_length=2, max_length=200)] | None = None  # into request bodies
    words: Edges | None = None
    characters: Edges | None = None
    language: Annotated[tuple[str, ...], Field(min_length=1, max_length=40)] | None = None  # ISO 639 codes
    teacher_class: bool = False
    hours: tuple[Annotated[int, Field(ge=0, le=23)], ...] | None = None  # at which bands of the day begin
    time_zone: str | None = None  # of hours, an IANA name such as Europe/Berlin
    pattern: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_CHARACTERS)] | None = None  # RE2
    of: tuple[str, str] | None = None  # the names of two other rules
    critical: bool = False
    bar: OpenShare | None = None  # the gate's
    max_values: int = Field(
        200, ge=1, le=10_000
    )  # of what callers send: further values count in `NAME=other`
    alarm_below: OpenShare | None = None  # the trigger's, where the gate saw too few rows; default: the bar

    @model_validator(mode="after")
    def _one_rule(self) -> "SliceSection":
        self._check_kind()
        self._check_packages()
        if self.name == OVERALL:
            raise ValueError(f"the name {OVERALL!r} is taken by the slice of everything")
        if self.critical and self.bar is None:
            raise ValueError(f"slice {self.name!r} is critical and has no bar; give one, e.g. bar = 0.9")
        if self.alarm_below is not None and self.alarm_below < (self.bar or 0):
            raise ValueError(
                f"slice {self.name!r}: alarm_below = {self.alarm_below} is less than bar = {self.bar};"
                " a slice would be unacceptable before it alarms"
            )
        return self

    @property
    def _kinds(self) -> list[RuleKind]:
        return [kind for kind in get_args(RuleKind) if getattr(self, kind) not in (None, False)]

    def _check_kind(self) -> None:
        if len(self._kinds) != 1:
            raise ValueError(
                f"slice {self.name!r} needs exactly one of {', '.join(get_args(RuleKind))}; it has"
                f" {' and '.join(self._kinds) or 'none'}"
            )
        if (self.hours is None) != (self.time_zone is None):
            raise ValueError(
                f"slice {self.name!r}: hours and time_zone belong together,"
                ' e.g. hours = [6, 18] and time_zone = "Europe/Berlin"'
            )
        if self.hours is not None and (len(self.hours) < 2 or list(self.hours) != sorted(set(self.hours))):
            raise ValueError(f"hours = {list(self.hours)} must be two or more ascending hours, e.g. [6, 18]")
        if self.time_zone is not None and not is_time_zone(self.time_zone):
            raise ValueError(
                f"time_zone = {self.time_zone!r} is no time zone that this machine knows; give an IANA name such"
                " as Europe/Berlin (the package tzdata has them where the system has none)"
            )

    def _check_packages(self) -> None:
        """Language and pattern need packages of the extra `slices`."""
        package = {"language": "py3langid", "pattern": "re2"}.get(self._kinds[0])
        if package is not None and find_spec(package) is None:
            raise ValueError(
                f"slice {self.name!r} needs packages that are not installed: pip install 'stillgate[slices]',"
                " or remove it"
            )
        unknown = sorted(set(self.language or ()) - LANGUAGES)
        if unknown:
            raise ValueError(
                f"language = {unknown}: no ISO 639 code that is told apart; those are {' '.join(sorted(LANGUAGES))}"
            )
        problem = pattern_problem(self.pattern) if self.pattern is not None else None
        if problem is not None:
            raise ValueError(
                f"pattern = {self.pattern!r} is no regular expression of RE2: {problem}; it knows no look-around"
                " and no back references"
            )

    def rule(self, others: Sequence["SliceSection"] = ()) -> SliceRule:
        """`others` has those that `of` names."""
        return SliceRule(
            name=self.name,
            kind=self._kinds[0],
            header=(self.header or "").lower(),
            word_edges=self.words or (),
            critical=self.critical,
            bar=self.bar,
            max_values=self.max_values,
            alarm_below=self.alarm_below,
            pointer=self.pointer or "",
            character_edges=self.characters or (),
            languages=self.language or (),
            hours=self.hours or (),
            time_zone=self.time_zone or "UTC",
            pattern=self.pattern or "",
            parts=tuple(other.rule() for name in self.of or () for other in others if other.name == name),
        )
