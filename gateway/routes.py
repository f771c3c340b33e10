"""Which task, teacher and dialect a path belongs to, prepared once from the configuration."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from gateway.dialects import dialect_of
from gateway.dialects.dialect import Asked, Dialect
from gateway.headers import RawHeaders
from gateway.places import head_document, text_at
from gateway.upstream import Pool, Pools
from ledger.configuration import Configuration, TaskSection
from ledger.exchange import Unpaired
from ledger.pointers import Pointer, parse_pointer
from ledger.redaction import Redactor, redactor, unredacted
from ledger.slice_values import MAX_VALUE_LENGTH
from ledger.slices import SliceRule
from ledger.subjects import KEY_FILE, pseudonym, subject_key

REDACTED_CHARACTERS = 2**16  # of one request; a longer one passes and is recorded without a pair
NO_TASK = ""  # the name that exchanges on a path of no task carry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SubjectRule:
    """Which header of a task's requests says whose they are."""

    task: str
    header: bytes
    key: bytes

    def pseudonym_in(self, fields: RawHeaders) -> str | None:
        """Of several fields the last, which the nearest proxy wrote; None without one, or where it is empty."""
        value = next((value for name, value in reversed(fields) if name == self.header), b"")
        return pseudonym(self.key, self.task, value) if value else None


@dataclass(frozen=True, slots=True)
class Route:
    """All that a request on one path needs to know of its task."""

    name: str  # NO_TASK where the path belongs to none: it is passed to the first task's teacher
    task: TaskSection
    upstream: Pool
    version_header: bytes | None  # of a response: tells the teacher's version
    dialect: Dialect
    rules: tuple[SliceRule, ...]
    counted_rules: tuple[SliceRule, ...]  # those cheap enough to be asked about every exchange
    recorded_headers: frozenset[bytes]
    recorded_places: tuple[tuple[str, Pointer], ...]  # in request bodies, each as it is written and parsed
    classes: tuple[str, ...]
    keeps_inputs: bool
    redact: Redactor
    subject: SubjectRule | None

    def read_request(self, body: bytes) -> Asked | Unpaired:
        """What a request asks, with its texts as they are stored and as a student reads them."""
        asked = self.dialect.parse_request(body)
        if isinstance(asked, Unpaired) or self.redact is unredacted:
            return asked
        texts = asked.texts
        if sum(map(len, texts)) > REDACTED_CHARACTERS:
            return Unpaired.REQUEST_TOO_LARGE
        redacted = tuple([self.redact(text) for text in texts])
        return asked if redacted == texts else asked._replace(texts=redacted)

    def redact_attributes(self, attributes: Mapping[str, str]) -> Mapping[str, str]:
        """Header values are stored too."""
        if not attributes or self.redact is unredacted:
            return attributes
        return {name: self.redact(value) for name, value in attributes.items()}

    def attributes_in(self, body: bytes) -> Mapping[str, str]:
        """What slice rules read in a request's body, as it is stored: redacted, and of bounded length."""
        if not self.recorded_places:
            return {}
        document = head_document(body)
        found = {name: text_at(document, place) for name, place in self.recorded_places}
        return {
            name: self.redact(text)[:MAX_VALUE_LENGTH]
            for name, text in found.items()
            if text and len(text) <= REDACTED_CHARACTERS
        }


@dataclass(frozen=True, slots=True)
class Routes:
    by_path: Mapping[bytes, Route]  # exact path as it stands in the request, without query
    by_model: Mapping[bytes, Route]  # /v2/models/NAME: what else is asked about a model goes to its teacher
    passed_through: Route

    def of(self, path: bytes) -> Route:
        route = self.by_path.get(path)
        return route or self.by_model.get(_model_path(path), self.passed_through)


def routes_of(configuration: Configuration, pools: Pools) -> Routes:
    """Raises UpstreamUnusable."""
    by_path: dict[bytes, Route] = {}
    by_model: dict[bytes, Route] = {}
    for task in configuration.task:
        route = _route(task, task.name, pools, _subject_rule(task, configuration))
        beside = _route(task, NO_TASK, pools)
        for path in task.paths:
            quoted = quote(path, safe="/%:@!$&'()*+,;=~").encode()
            by_path[quoted] = route
            if task.dialect == "open-inference":
                by_model.setdefault(_model_path(quoted), beside)
    return Routes(by_path, by_model, _route(configuration.task[0], NO_TASK, pools))


def _model_path(path: bytes) -> bytes:
    """The first three segments, which name the model where they begin with /v2/models."""
    return b"/".join(path.split(b"/", 4)[:4])


def _subject_rule(task: TaskSection, configuration: Configuration) -> SubjectRule | None:
    """None where the task names no header, and while the key can be neither read nor made."""
    header = task.capture.subject_header
    if header is None:
        return None
    data_directory = configuration.deployment.data_directory
    try:
        return SubjectRule(task.name, header.lower().encode(), subject_key(data_directory))
    except OSError as error:
        log.error(
            "%s: %s. Texts of task %s are not stored, since nobody could find them to erase them; put that right"
            " and reload. action=subject_key",
            data_directory / KEY_FILE,
            error,
            task.name,
        )
        return None


def _route(task: TaskSection, name: str, pools: Pools, subject: SubjectRule | None = None) -> Route:
    headers, places = (task.recorded_headers, task.recorded_places) if name else ((), ())
    rules, capture = task.rules, task.capture
    return Route(
        name,
        task,
        pools.of(task.teacher),
        task.teacher.version_header.lower().encode() if task.teacher.version_header else None,
        dialect_of(task),
        rules,
        tuple(rule for rule in rules if not rule.is_slow),
        frozenset(name.encode() for name in headers),
        tuple((place, parse_pointer(place)) for place in places),
        task.classes,
        capture.inputs == "text" and (capture.subject_header is None or subject is not None),
        redactor(capture.redacted),
        subject,
    )
