"""How requests and replies of one wire form are read and written, as pure functions."""

from gateway.dialects.dialect import Dialect
from gateway.dialects.huggingface import HUGGINGFACE
from gateway.dialects.open_inference import OPEN_INFERENCE

DIALECTS: dict[str, Dialect] = {"huggingface": HUGGINGFACE, "open-inference": OPEN_INFERENCE}
