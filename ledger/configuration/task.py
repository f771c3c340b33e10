"""Settings of a task."""

import math
from typing import Literal

from pydantic import Field, model_validator

from ledger.class_texts import class_texts
from ledger.configuration.asking import ExtraCallsSection, ProbeSection, RemoteStudentSection, ShadowSection
from ledger.configuration.criteria import CriteriaSection, FairnessSection
from ledger.configuration.curation import CurationSection
from ledger.configuration.dialects import JsonSection, OpenAISection, OpenInferenceSection
from ledger.configuration.fields import Name, Section, UrlPath
from ledger.configuration.governance import GovernanceSection, LicenceSection
from ledger.configuration.judging import (
    CandidateSection,
    FallbackSection,
    GateSection,
    TriggerSection,
    VerdictSection,
)
from ledger.configuration.play import PlaySection, SignatureSection
from ledger.configuration.slices import SliceSection
from ledger.configuration.teacher import CaptureSection, TeacherSection
from ledger.slices import SliceRule

MAX_RULES = 50  # of a task; each is asked about every exchange


class TaskSection(Section):
    name: Name
    classes: tuple[str, ...] = Field(min_length=2)
    dialect: Literal["huggingface", "open-inference", "openai-chat", "json"]
    paths: tuple[UrlPath, ...] = Field(min_length=1)
    open_inference: OpenInferenceSection | None = None
    openai: OpenAISection | None = None
    json_places: JsonSection | None = Field(None, alias="json")
    teacher: TeacherSection
    capture: CaptureSection
    slice: tuple[SliceSection, ...] = Field((), max_length=MAX_RULES)
    candidate: tuple[CandidateSection, ...] = ()
    trigger: TriggerSection = TriggerSection.model_construct()
    curation: CurationSection = CurationSection.model_construct()
    gate: GateSection = GateSection.model_construct()
    criteria: CriteriaSection = CriteriaSection.model_construct()
    fairness: FairnessSection | None = None  # undeclared: no student is trained or registered
    play: PlaySection | None = None
    signature: SignatureSection | None = None  # null: a standing policy of governance.sponsor
    verdict: VerdictSection = VerdictSection.model_construct()
    fallback: FallbackSection = FallbackSection.model_construct()
    shadow: ShadowSection = ShadowSection.model_construct()
    extra_calls: ExtraCallsSection = ExtraCallsSection.model_construct()
    probe: ProbeSection | None = None
    remote_student: RemoteStudentSection | None = None
    licence: LicenceSection | None = None
    governance: GovernanceSection

    @model_validator(mode="after")
    def _consistent(self) -> "TaskSection":
        for what, names in (("classes", self.classes), ("slice names", [s.name for s in self.slice])):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            if twice:
                raise ValueError(f"{what} must differ from one another; {twice} stand there twice")
        self._check_subject()
        self._check_probe()
        self._check_dialect()
        self._check_slices()
        self._check_fairness()
        self._check_signature()
        return self

    def _check_slices(self) -> None:
        parts = {section.name for section in self.slice if section.of is None}
        for section in self.slice:
            unknown = [name for name in section.of or () if name not in parts]
            if unknown or (section.of is not None and len(set(section.of)) < 2):
                raise ValueError(
                    f"slice {section.name!r}: of = {list(section.of or ())} must name two different slices of this"
                    f" task that are no combinations themselves: {', '.join(sorted(parts))}"
                )
            if section.rule(self.slice).reads_text and self.capture.inputs != "text":
                raise ValueError(
                    f'slice {section.name!r} reads texts, and capture.inputs = "{self.capture.inputs}" stores'
                    " none to measure it on; store them, or divide by words, a header or a pointer instead"
                )

    def _check_fairness(self) -> None:
        names = {section.name for section in self.slice}
        unknown = [name for name in (self.fairness.protected if self.fairness else ()) if name not in names]
        if unknown:
            raise ValueError(
                f"fairness.protected = {unknown} names no slice rule of this task; add a [[task.slice]] of that name"
            )

    def _check_signature(self) -> None:
        if self.signature is not None and self.signature.signed_by != self.governance.sponsor:
            raise ValueError(
                f"signature.signed_by = {self.signature.signed_by!r} is not governance.sponsor ="
                f" {self.governance.sponsor!r}; the sponsor signs the gate"
            )

    def _check_subject(self) -> None:
        subject = (self.capture.subject_header or "").lower()
        if subject in self.recorded_headers:
            raise ValueError(
                f"capture.subject_header = {self.capture.subject_header!r} is the header of a slice rule too, whose"
                " values are stored and measured as they come; name another header in one of them"
            )

    def _check_probe(self) -> None:
        if self.probe is None or self.probe.file is not None:
            return
        if self.capture.inputs != "text":
            raise ValueError(
                f"task {self.name!r}: probes are drawn from stored requests, and capture.inputs ="
                f' "{self.capture.inputs}" stores none; declare them with probe.file'
            )
        calls = math.ceil(self.probe.requests * self.probe.passes_per_day)
        if calls > self.extra_calls.per_day:
            raise ValueError(
                f"task {self.name!r}: {self.probe.requests} probes every {self.probe.every_hours:g} hours are {calls}"
                f" calls a day, and extra_calls.per_day = {self.extra_calls.per_day}; raise it, or probe less"
            )

    def _check_dialect(self) -> None:
        sections = (
            ("open_inference", self.open_inference, "open-inference", False),
            ("openai", self.openai, "openai-chat", True),
            ("json", self.json_places, "json", True),
        )
        for key, section, dialect, needed in sections:
            if section is None and needed and self.dialect == dialect:
                raise ValueError(f'dialect = "{dialect}" needs a [task.{key}] section; add it')
            if section is not None and self.dialect != dialect:
                raise ValueError(
                    f'[task.{key}] belongs to dialect = "{dialect}", this task has dialect ='
                    f' "{self.dialect}"; change the dialect or remove the section'
                )
        if self.openai is not None:
            class_texts(self.openai.labels, self.classes)

    @property
    def driver(self) -> str:
        """Who is behind automatic jobs, and may not approve what they trained."""
        return (self.signature.driver if self.signature else None) or self.governance.driver

    @property
    def rules(self) -> tuple[SliceRule, ...]:
        return tuple(section.rule(self.slice) for section in self.slice)

    @property
    def recorded_headers(self) -> tuple[str, ...]:
        """Lower-case request headers that slice rules read: the only ones that are stored."""
        return tuple({rule.header: None for rule in self.rules if rule.header})

    @property
    def recorded_places(self) -> tuple[str, ...]:
        """Pointers into request bodies that slice rules read; what stands there is stored beside those headers."""
        return tuple({rule.pointer: None for rule in self.rules if rule.pointer})
