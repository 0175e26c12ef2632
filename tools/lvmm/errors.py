"""The errors that end a command with one line on stderr and a documented exit code."""

from typing import ClassVar


class LvmmError(Exception):
    """Base of all errors that a user can meet; str() is the one line to show."""

    exit_code: ClassVar[int] = 1


class EnvironmentProblem(LvmmError):
    """A missing tool, no permission, a full disk, a port in use."""

    exit_code = 1


class UsageError(LvmmError):
    """Bad input: an unknown board, a file that is no kernel, too little memory."""

    exit_code = 2


class DivergenceError(LvmmError):
    """A replay did not match its recording."""

    exit_code = 3


class RecordingError(LvmmError):
    """No log, or an incomplete recording."""

    exit_code = 4


class VersionMismatch(LvmmError):
    """A recording or log of another format version."""

    exit_code = 5


class MachineError(LvmmError):
    """The emulator or the monitor failed."""

    exit_code = 6


class MachineTimeout(LvmmError):
    """A deadline passed."""

    exit_code = 7
