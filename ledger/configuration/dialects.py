"""Settings of the dialects that need some."""

from typing import Literal

from pydantic import Field, model_validator

from ledger.configuration.fields import JsonPointer, Section


class OpenInferenceSection(Section):
    """Needed only where names tell the tensors apart."""

    input: str | None = None  # the BYTES tensor with the texts; default: the only input
    output: str | None = None  # the probabilities; default: the float tensor that has one for each class


class OpenAISection(Section):
    """Chat completions used as a classifier."""

    models: tuple[str, ...] = Field(min_length=1)  # names that requests carry; others are another teacher
    labels: dict[str, str] = {}  # text of the assistant -> class; default: each class names itself
    messages: Literal["last_user", "all"] = "last_user"  # which messages are the text
    instructions: str | None = None  # system and developer messages have to say this; default: anything
    request_logprobs: bool = False  # ask the teacher for them, and take them out of what the caller gets
    top_logprobs: int = Field(5, ge=1, le=20)  # how many are asked for
    unasked_logprobs: Literal["null", "absent"] = "null"  # how the teacher writes logprobs nobody asked for


class JsonSection(Section):
    """Any JSON, by JSON Pointer (RFC 6901)."""

    text: JsonPointer  # in the request
    ignored: tuple[JsonPointer, ...] = ()  # in the request: what changes nothing in the answer, an identifier
    probabilities: JsonPointer | None = None  # in the reply: a list in the order of classes, or by class name
    label: JsonPointer | None = None  # in the reply: the class name
    confidence: JsonPointer | None = None  # in the reply, beside a label: its probability
    constant: tuple[JsonPointer, ...] = ()  # in the reply: the same for all callers, so a student may say it
    fresh: tuple[JsonPointer, ...] = ()  # in the reply: identifiers, invented anew by a student

    @model_validator(mode="after")
    def _one_way(self) -> "JsonSection":
        if (self.probabilities is None) == (self.label is None):
            raise ValueError("json needs exactly one of probabilities, label; give a pointer for one of them")
        if self.confidence is not None and self.label is None:
            raise ValueError("confidence is read beside a label; give label, or remove confidence")
        return self
