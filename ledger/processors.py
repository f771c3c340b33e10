"""Which processors a process that nobody waits for may run on."""

import os


def leave_one_free(threads: int = 1, pid: int = 0) -> None:
    """Keep this process, or another, off the first processor where enough others are left for so many threads.

    A busy process is taken off its processor at the kernel's next tick, not at once (4 ms at 250 a second), however
    low its priority. On a small machine a gateway that wakes up for a caller finds every processor busy with such
    processes and waits that long, unless one of them is kept free of them.
    """
    allowed = os.sched_getaffinity(pid)
    if len(allowed) > threads:
        os.sched_setaffinity(pid, allowed - {min(allowed)})
