"""Which task, teacher and dialect a path belongs to, prepared once from the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from gateway.dialects import DIALECTS
from gateway.dialects.dialect import Dialect
from gateway.upstream import Pool, Pools
from ledger.configuration import Configuration, TaskSection
from ledger.slices import SliceRule

NO_TASK = ""  # the name that exchanges on a path of no task carry


@dataclass(frozen=True, slots=True)
class Route:
    """All that a request on one path needs to know of its task."""

    name: str  # NO_TASK where the path belongs to none: it is passed to the first task's teacher
    task: TaskSection
    upstream: Pool
    version_header: bytes | None  # of a response: tells the teacher's version
    dialect: Dialect
    rules: tuple[SliceRule, ...]
    recorded_headers: frozenset[bytes]
    classes: tuple[str, ...]
    keeps_inputs: bool


@dataclass(frozen=True, slots=True)
class Routes:
    by_path: Mapping[bytes, Route]  # exact path as it stands in the request, without query
    passed_through: Route

    def of(self, path: bytes) -> Route:
        return self.by_path.get(path, self.passed_through)


def routes_of(configuration: Configuration, pools: Pools) -> Routes:
    """Raises TlsUnusable."""
    by_path = {
        quote(path, safe="/%:@!$&'()*+,;=~").encode(): _route(task, task.name, pools)
        for task in configuration.task
        for path in task.paths
    }
    return Routes(by_path, _route(configuration.task[0], NO_TASK, pools))


def _route(task: TaskSection, name: str, pools: Pools) -> Route:
    headers = task.recorded_headers if name else ()
    return Route(
        name,
        task,
        pools.of(task.teacher),
        task.teacher.version_header.lower().encode() if task.teacher.version_header else None,
        DIALECTS[task.dialect],
        task.rules,
        frozenset(name.encode() for name in headers),
        task.classes,
        task.capture.inputs == "text",
    )
