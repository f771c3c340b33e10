"""The exported files through the student process's own code: the last check before anybody judges them.

It catches what the graph's own parity cannot: another tokenizer, another truncation, another template.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import softmax
from torch import nn

from distill.training.encode import TokenIds
from distill.training.export import LOGIT_LIMIT, ParityBroken
from distill.training.predict import predict_logits
from ledger.artifacts import MANIFEST, Certificate, GateReport, Lineage, Manifest, seal
from ledger.clock import now_us
from ledger.configuration import StudentSection
from student.session import Student


def served_difference(
    folder: Path,
    classes: Sequence[str],
    max_tokens: int,
    student: nn.Module,
    temperature: float,
    texts: Sequence[str],
    token_ids: Sequence[TokenIds],
) -> float:
    """The largest difference of a probability between training and serving, over `texts`.

    `token_ids` are what training gave the texts. The folder has a manifest for as long as it is asked. Raises
    ParityBroken.
    """
    digest = seal(folder, _provisional(tuple(classes), max_tokens, temperature))
    try:
        served = Student.load(folder, digest, StudentSection())
    finally:
        (folder / MANIFEST).unlink()
    return check_served(served, student, temperature, texts, token_ids)


def check_served(
    served: Student,
    student: nn.Module,
    temperature: float,
    texts: Sequence[str],
    token_ids: Sequence[TokenIds],
) -> float:
    """The same of a student that is loaded already."""
    for text, trained, found in zip(texts, token_ids, served.tokenize(texts), strict=True):
        if trained != found:
            raise ParityBroken(
                f"a text of {len(text)} characters has {len(found)} token ids when served and {len(trained)} in"
                " training, or others: the tokenizer that is served is not the one that was trained with"
            )
    probabilities = [observation.probabilities for observation in served.answer(texts)]
    if None in probabilities:
        raise ParityBroken("a text that was trained on has no answer when served")
    trained_with = softmax(predict_logits(student, token_ids) / temperature, axis=1)
    largest = float(np.abs(np.array(probabilities) - trained_with).max(initial=0.0))
    if not largest <= LOGIT_LIMIT:  # written so that NaN fails too
        raise ParityBroken(
            f"probabilities differ by up to {largest:.2g} between training and serving; the limit is {LOGIT_LIMIT:g}"
        )
    return largest


def _provisional(classes: tuple[str, ...], max_tokens: int, temperature: float) -> Manifest:
    """Of a student that nobody has judged and that no job registers."""
    return Manifest(
        task="parity",
        kind="parity",
        classes=classes,
        max_tokens=max_tokens,
        temperature=temperature,
        calibration="",
        parity={},
        milliseconds_per_answer=0.0,
        gate=GateReport(
            outcome="inconclusive", reasons=("not judged",), lock_digest="", alpha=0.0, verdicts=()
        ),
        certificate=Certificate(
            max_disagreement=0.0, delta=0.0, teacher_epoch="", issued_at_us=now_us(), slices={}, pairs={}
        ),
        lineage=Lineage(
            job_id=0,
            cause="parity",
            alarm_id=None,
            parent=None,
            teacher_epoch="",
            rows_digest="",
            rows={},
            threads=0,
            seed=0,
            libraries={},
        ),
        licence={},
        files={},
    )
