"""A file system in memory that keeps what was synced and what was only written apart, mounted by FUSE.

At a loss of power only synced bytes are sure to be there, and any of the unsynced pages may be there as well,
in any order. `image` writes such a state into a folder, drawn at random, while the file system goes on.
Creating, renaming and deleting count as durable at once, as a journalling file system does it with an fsync of
the file; a page is 4096 bytes. After LazyFS (Ramos et al., https://github.com/dsrhaslab/lazyfs).
"""

import errno
import os
import random
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

PAGE = 4096
MOUNT_SECONDS = 20.0


@dataclass
class LossyFile:
    """One file: its bytes as processes see them, as the disk has them, and which pages differ."""

    mode: int
    now: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    dirty: set[int] = field(default_factory=set)  # numbers of pages written since the last sync

    def write(self, content: bytes, offset: int) -> int:
        end = offset + len(content)
        if len(self.now) < end:
            self.now.extend(bytes(end - len(self.now)))
        self.now[offset:end] = content
        self.dirty |= set(range(offset // PAGE, (end + PAGE - 1) // PAGE))
        return len(content)

    def truncate(self, length: int) -> None:
        if length < len(self.now):
            del self.now[length:]
        else:
            self.now.extend(bytes(length - len(self.now)))
        self.dirty.add(length // PAGE)

    def sync(self) -> None:
        self.synced = bytes(self.now)
        self.dirty.clear()

    def after_power_loss(self, rng: random.Random, kept: float) -> bytes:
        """The synced bytes, with each unsynced page kept with this probability."""
        content = bytearray(self.synced)
        for page in sorted(self.dirty):
            if rng.random() < kept:
                written = bytes(self.now[page * PAGE : (page + 1) * PAGE])
                content.extend(bytes(max(0, page * PAGE - len(content))))
                content[page * PAGE : page * PAGE + len(written)] = written
        return bytes(content)


def _alone(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation under the lock that `image` takes as well."""

    @wraps(operation)
    def locked(files: "LossyFiles", *arguments: Any) -> Any:
        with files._lock:
            return operation(files, *arguments)

    return locked


class LossyFiles:
    """The operations that mfusepy calls."""

    use_ns = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._files: dict[str, LossyFile] = {}
        self._folders: dict[str, int] = {"/": stat.S_IFDIR | 0o755}
        self.syncs = 0

    def image(self, folder: Path, rng: random.Random, kept: float) -> float:
        """Write a state after power loss at this moment; returns the moment, on time.monotonic()."""
        with self._lock:
            at = time.monotonic()
            contents = {path: one.after_power_loss(rng, kept) for path, one in self._files.items()}
            folders = list(self._folders)
        for path in folders:
            (folder / path[1:]).mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            (folder / path[1:]).write_bytes(content)
        return at

    # --- what the kernel asks -------------------------------------------------------------------------

    def getattr(self, path: str, handle: int | None = None) -> dict[str, Any]:
        if path in self._folders:
            return {
                "st_mode": self._folders[path],
                "st_nlink": 2,
                "st_uid": os.getuid(),
                "st_gid": os.getgid(),
            }
        one = self._at(path)
        return {
            "st_mode": stat.S_IFREG | one.mode,
            "st_nlink": 1,
            "st_size": len(one.now),
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
        }

    def readdir(self, path: str, handle: int) -> list[str]:
        inside = path.rstrip("/") + "/"
        names = [name for name in (*self._files, *self._folders) if name != "/" and name.startswith(inside)]
        return [".", "..", *(name[len(inside) :] for name in names if "/" not in name[len(inside) :])]

    @_alone
    def mkdir(self, path: str, mode: int) -> int:
        self._folders[path] = stat.S_IFDIR | mode
        return 0

    @_alone
    def rmdir(self, path: str) -> int:
        del self._folders[path]
        return 0

    @_alone
    def create(self, path: str, mode: int, info: Any = None) -> int:
        self._files[path] = LossyFile(mode & 0o7777)
        return 0

    def open(self, path: str, flags: int) -> int:
        self._at(path)
        return 0

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        return bytes(self._at(path).now[offset : offset + size])

    @_alone
    def write(self, path: str, content: bytes, offset: int, handle: int) -> int:
        return self._at(path).write(content, offset)

    @_alone
    def truncate(self, path: str, length: int, handle: int | None = None) -> int:
        self._at(path).truncate(length)
        return 0

    @_alone
    def fsync(self, path: str, data_only: int, handle: int) -> int:
        self._at(path).sync()
        self.syncs += 1
        return 0

    @_alone
    def unlink(self, path: str) -> int:
        self._at(path)
        del self._files[path]
        return 0

    @_alone
    def rename(self, old: str, new: str) -> int:
        if old in self._files:
            self._files[new] = self._files.pop(old)
            return 0
        moved = {
            name: name.replace(old, new, 1) for name in self._folders if (name + "/").startswith(old + "/")
        }
        for name, other in moved.items():
            self._folders[other] = self._folders.pop(name)
        inside = {name: name.replace(old, new, 1) for name in self._files if name.startswith(old + "/")}
        for name, other in inside.items():
            self._files[other] = self._files.pop(name)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def chown(self, path: str, user: int, group: int) -> int:
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        return 0

    def access(self, path: str, mode: int) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": PAGE, "f_frsize": PAGE, "f_blocks": 2**20, "f_bfree": 2**20, "f_bavail": 2**20}

    def flush(self, path: str, handle: int) -> int:
        return 0

    def release(self, path: str, handle: int) -> int:
        return 0

    def fsyncdir(self, path: str, data_only: int, handle: int) -> int:
        return 0

    def opendir(self, path: str) -> int:
        return 0

    def releasedir(self, path: str, handle: int) -> int:
        return 0

    def init(self, path: str) -> None:
        return None

    def init_with_config(self, connection: Any, configuration: Any) -> None:
        return None

    def destroy(self, path: str) -> None:
        return None

    def _at(self, path: str) -> LossyFile:
        one = self._files.get(path)
        if one is None:
            raise OSError(errno.ENOENT, "")
        return one


def can_mount() -> str:
    """Empty, or why no file system can be mounted here."""
    if not os.access("/dev/fuse", os.W_OK):
        return "/dev/fuse cannot be opened"
    try:
        import mfusepy  # noqa: F401  # it looks for libfuse when it is imported
    except (ImportError, OSError, AttributeError) as error:
        return f"no libfuse: {error}"
    return ""


@contextmanager
def mounted(folder: Path) -> Iterator[LossyFiles]:
    """The file system at `folder`, served by a thread."""
    from mfusepy import FUSE

    files = LossyFiles()
    failed: list[BaseException] = []

    def serve() -> None:
        try:
            FUSE(files, str(folder), foreground=True, nothreads=True, big_writes=True)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    give_up_at = time.monotonic() + MOUNT_SECONDS
    while not folder.is_mount():
        assert not failed, failed
        assert time.monotonic() < give_up_at, "the file system was not mounted in time"
        time.sleep(0.02)
    try:
        yield files
    finally:
        with suppress(OSError):
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
        thread.join(10)
        # libfuse takes its signal dispositions back, and with them the one that Python had set: without it the
        # next write to a closed connection, in whatever test, would end the process
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
