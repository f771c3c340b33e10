"""Exit codes of the command, which scripts may rely on."""

from enum import IntEnum


class Exit(IntEnum):
    """What a script learns without reading the text."""

    OK = 0
    FAILED = 1  # it did not work, or what was looked at is degraded or paused
    USAGE = 2  # the command line or the configuration is wrong
    TIMEOUT = 3  # waited for as long as was asked
    VERDICT = 4  # refused: the verdict, the gate or the certificate does not allow it
    FORBIDDEN = 5  # no key, the wrong role, or a second person is needed
    CONFLICT = 6  # somebody else changed it first
    UNREACHABLE = 7  # the admin API does not answer
