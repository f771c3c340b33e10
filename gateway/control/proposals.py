"""Open proposals: a promotion that one person asked for and that waits for another; one a task."""

from enum import StrEnum

from sqlmodel import Session, col, select

from gateway.control.access import Person
from gateway.control.errors import Code, Refused
from ledger.audit import append_audit
from ledger.clock import now_us
from ledger.tables import ProposalRow


class Decision(StrEnum):
    """How a proposal ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"  # the stage changed underneath it


def open_proposal(session: Session, task: str) -> ProposalRow | None:
    return session.exec(
        select(ProposalRow).where(ProposalRow.task == task, col(ProposalRow.decision).is_(None))
    ).first()


def undecided(session: Session, proposal_id: int) -> ProposalRow | Refused:
    """The proposal of that number, if it still waits."""
    proposal = session.get(ProposalRow, proposal_id)
    if proposal is None:
        return Refused(Code.UNKNOWN, f"there is no proposal {proposal_id}")
    if proposal.decision is not None:
        return Refused(
            Code.CONFLICT, f"proposal {proposal_id} was {proposal.decision} by {proposal.decided_by} already"
        )
    return proposal


def reject(session: Session, proposal_id: int, person: Person, reason: str) -> ProposalRow | Refused:
    """Close a proposal without a stage change; the one who made it may do so too."""
    proposal = undecided(session, proposal_id)
    if isinstance(proposal, ProposalRow):
        decide(session, proposal, Decision.REJECTED, person.name, reason)
    return proposal


def supersede(session: Session, task: str, actor: str, reason: str) -> None:
    """Close the open proposal of a task, if there is one: going down beats going up."""
    proposal = open_proposal(session, task)
    if proposal is not None:
        decide(session, proposal, Decision.SUPERSEDED, actor, reason)


def decide(session: Session, proposal: ProposalRow, decision: Decision, actor: str, reason: str) -> None:
    proposal.decision, proposal.decided_by, proposal.decided_at_us = decision, actor, now_us()
    session.add(proposal)
    append_audit(
        session,
        actor,
        f"promotion_{decision}",
        {"proposal": proposal.id, "task": proposal.task, "artifact": proposal.artifact, "reason": reason},
    )
