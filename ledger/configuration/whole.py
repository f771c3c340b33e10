"""All sections of stillgate.toml together, and what has to hold between them."""

import socket
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ledger.configuration.fields import Section
from ledger.configuration.processes import (
    ControlSection,
    DeploymentSection,
    GatewaySection,
    MonitorSection,
    RetentionSection,
    StudentSection,
    WebhookSection,
)
from ledger.configuration.task import TaskSection

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", socket.gethostname()})
_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})


def _leads_to(url: str, listen: str) -> bool:
    """Whether the url names this listen address. A name that resolves to it is found out by Via."""
    parts, (host, _, port) = urlsplit(url), listen.rpartition(":")
    if str(parts.port or {"http": 80, "https": 443}[parts.scheme]) != port:
        return False
    here, there = host.strip("[]"), parts.hostname or ""
    return here == there or (there in _LOOPBACK and here in _LOOPBACK | _EVERYWHERE)


class Configuration(Section):
    deployment: DeploymentSection
    gateway: GatewaySection = GatewaySection.model_construct()
    retention: RetentionSection = RetentionSection.model_construct()
    control: ControlSection = ControlSection.model_construct()
    monitor: MonitorSection = MonitorSection.model_construct()
    student: StudentSection = StudentSection.model_construct()
    webhook: tuple[WebhookSection, ...] = ()
    task: tuple[TaskSection, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Configuration":
        paths = [path for task in self.task for path in task.paths]
        names = [task.name for task in self.task]
        webhooks = [webhook.name for webhook in self.webhook]
        listens = [
            self.gateway.listen,
            self.gateway.operations_listen,
            self.control.listen,
            self.monitor.listen,
        ]
        for what, values in (
            ("task names", names),
            ("task paths", paths),
            ("listen addresses", listens),
            ("webhook names", webhooks),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{what} must differ from one another; {twice} stand there twice")
        for task in self.task:
            remote = task.remote_student
            if remote is not None and _leads_to(remote.url, self.gateway.listen):
                raise ValueError(
                    f"task {task.name!r}: remote_student.url = {remote.url} is gateway.listen itself: every"
                    " shadow request would cause another; name the server of the student"
                )
        return self

    def task_named(self, name: str) -> TaskSection | None:
        return next((task for task in self.task if task.name == name), None)
