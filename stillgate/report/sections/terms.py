"""What the words and numbers of the page mean."""

from monitor.drawing.markup import NOTHING, Markup, element, joined
from monitor.drawing.tables import paragraph
from stillgate.report.document import Report

TERMS = (
    (
        "fidelity",
        "share of inputs with the same top class of student and teacher; the teacher is the reference, not the truth",
    ),
    (
        "accuracy",
        "share of labelled inputs whose top class is the true label: the student's, and the teacher's beside it",
    ),
    ("interval", "holds at every look at once with probability 95 %, however often a report is made"),
    (
        "bar, verdict",
        "least acceptable fidelity; a slice passes if proven to meet every bar, and fails if proven to miss one",
    ),
    (
        "calibration error",
        "mean distance between confidence and how often student and teacher agree; below its noise it says nothing",
    ),
    (
        "divergence",
        "mean Jensen-Shannon divergence of the two distributions in bits; 0 is equal, 1 is disjoint",
    ),
    (
        "serves from",
        "confidence from which the certificate lets the student serve the slice; teacher: it may not",
    ),
    (
        "share above",
        "of the pairs, those at or above that confidence: what the student would serve of the slice",
    ),
    ("served", "of the recorded requests, those that the student answered to callers"),
    (
        "compared",
        "of the eligible requests of the slice, those with both answers; - where the request alone does not tell it",
    ),
)


def reading_section(report: Report) -> Markup:
    terms = [part for term, said in TERMS for part in (element("dt", None, term), element("dd", None, said))]
    texts = any(one.text is not None for one in report.disagreements.worst)
    return joined(
        element("dl", None, *terms),
        paragraph(
            "This file holds texts of callers. An erasure does not reach copies of it: delete it with them, or make it"
            " with --no-texts."
        )
        if texts
        else NOTHING,
    )
