"""A student of the user's own: a function in a module that can be imported where the trainer runs."""

import importlib

from torch import nn


class NoSuchFactory(Exception):
    """What `factory` names cannot be imported, or makes no student."""


def custom_student(factory: str, encoder: str, vocabulary: int, classes: int) -> nn.Module:
    """Call `module:function` as function(encoder=..., vocabulary=..., classes=...).

    It makes a torch module that takes token ids and mask [batch, seq] and answers logits [batch, classes]; one that
    is a `PooledStudent` also tells where texts lie in its embedding.
    """
    module_name, _, name = factory.partition(":")
    try:
        make = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise NoSuchFactory(
            f'factory = "{factory}" cannot be imported ({error}); name it module:function, and put the module'
            " where the trainer's Python finds it (PYTHONPATH)"
        ) from None
    student = make(encoder=encoder, vocabulary=vocabulary, classes=classes)
    if not isinstance(student, nn.Module):
        raise NoSuchFactory(f'factory = "{factory}" made a {type(student).__name__}, not a torch.nn.Module')
    return student
