"""How requests and replies of one wire form are read and written, as pure functions."""

from gateway.dialects.dialect import Dialect
from gateway.dialects.huggingface import huggingface
from gateway.dialects.json_places import json_places
from gateway.dialects.open_inference import open_inference
from gateway.dialects.openai_chat import openai_chat
from ledger.configuration import OpenInferenceSection, TaskSection


def dialect_of(task: TaskSection) -> Dialect:
    """The dialect of a task, with its classes and settings."""
    if task.dialect == "open-inference":
        return open_inference(task.classes, task.open_inference or OpenInferenceSection())
    if task.openai is not None:
        return openai_chat(task.classes, task.openai)
    if task.json_places is not None:
        return json_places(task.classes, task.json_places)
    return huggingface(task.classes)
