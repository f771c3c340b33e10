"""Which settings a running deployment takes over from a changed file, and which processes that concerns."""

from collections.abc import Iterable

from ledger.configuration import Configuration, Section

# of [gateway]: what the next request obeys; everything else there is bound to sockets, files and queues
GATEWAY_LIVE = frozenset(
    {
        "max_in_flight",
        "max_connections",
        "max_request_line_bytes",
        "max_head_bytes",
        "max_head_fields",
        "max_body_bytes",
        "max_chunk_extension_bytes",
        "first_byte_seconds",
        "head_seconds",
        "body_grace_seconds",
        "min_body_bytes_per_second",
        "keep_alive_seconds",
        "send_seconds",
        "trusted_proxies",
        "record_body_bytes",
    }
)
GATEWAY_READS = ("task", "gateway", "student", "monitor")
# the distill worker reads the file anew for each job
RESTARTED_FOR = {
    "student": ("student", "task"),
    "control": ("gateway", "student", "monitor", "task", "webhook"),
    "monitor": ("monitor", "task"),
}


def takes_restart(old: Configuration, new: Configuration) -> list[str]:
    """The changed settings that only a restart of everything can take over, as they stand in the file."""
    fixed = [
        *_changed("deployment", old.deployment, new.deployment),
        *(
            name
            for name in _changed("gateway", old.gateway, new.gateway)
            if name.partition(".")[2] not in GATEWAY_LIVE
        ),
        *_changed("retention", old.retention, new.retention),
        *_changed("control", old.control, new.control),
    ]
    return [*fixed, "monitor.listen"] if old.monitor.listen != new.monitor.listen else fixed


def concerned(old: Configuration, new: Configuration) -> set[str]:
    """The processes of a deployment, by name, that have to read the file again."""
    changed = {part for part in Configuration.model_fields if getattr(old, part) != getattr(new, part)}
    names = {name for name, reads in RESTARTED_FOR.items() if changed.intersection(reads)}
    return names | ({"gateway"} if changed.intersection(GATEWAY_READS) else set())


def _changed(part: str, old: Section, new: Section) -> Iterable[str]:
    return [f"{part}.{name}" for name in type(old).model_fields if getattr(old, name) != getattr(new, name)]
