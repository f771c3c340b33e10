"""What every route needs: the configuration, the control file, and who asks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from gateway.control.access import Person
from gateway.control.accounts import AccountsReader
from gateway.control.errors import Code, Refused
from ledger.configuration import Configuration, TaskSection


@dataclass(frozen=True, slots=True)
class Control:
    """The parts that create_app wires together, once."""

    configuration: Configuration
    writing: Engine  # every transaction takes the write lock at once
    reading: Engine  # looks without waiting in the writers' line
    accounts: AccountsReader

    @property
    def data_directory(self) -> Path:
        return self.configuration.deployment.data_directory

    def task(self, name: str) -> TaskSection | Refused:
        task = self.configuration.task_named(name)
        if task is not None:
            return task
        names = ", ".join(task.name for task in self.configuration.task)
        return Refused(Code.UNKNOWN, f"there is no task {name!r}; the configuration has {names}")


def _control(request: Request) -> Control:
    control: Control = request.app.state.control
    return control


def _person(request: Request) -> Person:
    person: Person = request.scope["stillgate.person"]
    return person


ControlPart = Annotated[Control, Depends(_control)]
PersonPart = Annotated[Person, Depends(_person)]
