"""One request with what was served for it, and the answers to it that came off the caller's path."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from ledger.observation import Observation

TEACHER = "teacher"  # the responder of an audit answer; a student's answer names its artifact instead
TEACHER_AGAIN = "teacher_again"  # the responder of a second answer: it is compared as a student's is


class Outcome(StrEnum):
    """How the request ended, seen from the caller."""

    COMPLETE = "complete"  # the whole response left
    CLIENT_DISCONNECT = "client_disconnect"  # the caller went away first
    UPSTREAM_UNREACHABLE = "upstream_unreachable"  # no connection to the teacher; the caller got 502 or 503
    UPSTREAM_TIMEOUT = "upstream_timeout"  # the teacher was too slow; the caller got 504
    UPSTREAM_TRUNCATED = "upstream_truncated"  # the teacher's response was cut; the caller's was cut too
    REFUSED = "refused"  # the gateway's own limits refused it before the teacher was asked


class ServedBy(StrEnum):
    """Whose answer the caller received."""

    TEACHER = "teacher"
    STUDENT = "student"
    GATEWAY = "gateway"  # an error reply of our own


class Arm(StrEnum):
    """Which side of a rollout the request was assigned to, before anybody answered."""

    CONTROL = "control"  # the teacher serves
    STUDENT = "student"  # the student serves where its certificate allows


class Fallback(StrEnum):
    """Why the teacher answered a request of the student's arm."""

    LOW_CONFIDENCE = "low_confidence"
    UNCERTIFIED_SLICE = "uncertified_slice"
    CERTIFICATE_VOID = "certificate_void"  # a slice of the request was certified, and is no longer
    UNPARSED = "unparsed"
    PARAMETERS = "parameters"  # the request asks for what a student cannot give
    FORM_UNKNOWN = "form_unknown"  # no reply of the teacher to such a request that a student could imitate
    STUDENT_FAILED = "student_failed"
    DEADLINE = "deadline"
    MONITOR_STALE = "monitor_stale"  # the dead-man rule


class Unpaired(StrEnum):
    """Why an exchange can never become a pair of observations."""

    NO_TASK = "no_task"  # a path of no task, passed through
    REQUEST_TOO_LARGE = "request_too_large"  # larger than the copy that is kept
    RESPONSE_TOO_LARGE = "response_too_large"
    REQUEST_NOT_JSON = "request_not_json"
    REQUEST_NOT_TEXT = "request_not_text"  # JSON, but not the dialect's inputs
    REQUEST_EMPTY = "request_empty"  # no inputs, or an empty text
    REQUEST_NUMERIC = "request_numeric"  # numbers for features, and a student reads texts
    REQUEST_PAIR = "request_pair"  # two texts for one answer
    REQUEST_PARAMETERS = "request_parameters"  # its parameters change what the answer means
    REQUEST_OTHER_MODEL = "request_other_model"  # it names a model that is not this task's teacher
    REQUEST_OTHER_INSTRUCTIONS = "request_other_instructions"  # than those that the task declares
    TEACHER_ERROR = "teacher_error"  # a status other than 2xx
    TEACHER_CODING = "teacher_coding"  # a content coding other than gzip and deflate
    TEACHER_MALFORMED = "teacher_malformed"  # a 2xx body that the dialect cannot read
    LABEL_UNKNOWN = "label_unknown"  # the teacher's words name no class
    STREAM_ERROR = "stream_error"  # the stream tells of an error
    STREAM_UNFINISHED = "stream_unfinished"  # it ended without its last events, though nothing was cut
    INCOMPLETE = "incomplete"  # the exchange did not end as complete
    NOT_ASKED = "not_asked"  # the student served and no audit was drawn


class Origin(StrEnum):
    """How an answer came about."""

    SHADOW = "shadow"  # after the response had left
    INLINE = "inline"  # in front of the caller, whether it was served or not
    AUDIT = "audit"  # the teacher, asked off the path about a request that the student served
    SECOND = "second"  # the teacher once more, asked off the path about a request that it had answered
    REPLAY = "replay"  # off line, over past exchanges


class Exchange(NamedTuple):
    """One request and what was served, written once when the response has ended.

    A named tuple, since one is made for each request: a frozen dataclass of so many fields takes ten times as
    long to make. The fields stand in the order of the table's columns.
    """

    sequence: int  # grows with the start of requests; unique in one gateway's file
    exchange_id: str  # "<gateway>-<sequence>"; also the reply header x-stillgate-exchange
    task: str  # empty when the path belongs to no task
    started_at_us: int
    duration_us: int
    outcome: Outcome
    status: int  # what the caller got; 0 when nothing left
    served_by: ServedBy
    arm: Arm
    artifact: str | None  # of the student that served, or was tried in line
    stage_revision: int  # of the stage change that this request obeyed
    teacher_epoch: str  # the teacher version that answered, or that is pinned
    inclusion: float  # probability with which the teacher was asked about this request
    measured: bool  # the teacher was asked (or will be, by audit) whatever the student said
    fallback: Fallback | None
    unpaired: Unpaired | None
    attributes: Mapping[str, str]  # the request headers that slice rules name
    inputs: tuple[str, ...]
    input_words: tuple[int, ...]  # kept even where the inputs themselves are not
    input_digests: tuple[str, ...]  # so that identical requests count once without storing them
    teacher: tuple[Observation, ...]  # one per input, empty when the teacher was not asked
    subject: str | None = None  # whose it is, as ledger.subjects.pseudonym


class Answer(NamedTuple):
    """One responder's observations for every input of one exchange."""

    exchange_sequence: int
    responder: str  # artifact id, TEACHER or TEACHER_AGAIN
    origin: Origin
    answered_at_us: int
    latency_us: int
    observations: tuple[Observation, ...]
    inclusion: float = 1.0  # probability with which the responder was asked about this exchange


def exchange_id(gateway: str, sequence: int) -> str:
    """The public name of an exchange."""
    return f"{gateway}-{sequence}"


def parse_exchange_id(text: str) -> tuple[str, int] | None:
    """Gateway and sequence of a public exchange name, or None if it is no such name."""
    gateway, _, sequence = text.rpartition("-")
    if not gateway or not sequence.isascii() or not sequence.isdigit() or len(sequence) > 18:
        return None
    return gateway, int(sequence)
