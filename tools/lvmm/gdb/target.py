"""What the debugger's server asks of a machine: the guest behind the monitor, or a test's fake.

All methods are synchronous. Every failure is a TargetError, a failure of the link to the monitor
included; nothing else may be raised.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

GENERAL = (
    *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
    *("rip", "rflags"),
)
SELECTORS = ("cs", "ss", "ds", "es", "fs", "gs")
BASES = ("cs_base", "ss_base", "ds_base", "es_base", "fs_base", "gs_base", "kernel_gs_base")
CONTROL = ("cr0", "cr2", "cr3", "cr4", "cr8", "efer")
DEBUG = ("dr0", "dr1", "dr2", "dr3", "dr6", "dr7")

# The code segment's access rights in VMX's format (SDM volume 3, 25.4.1): bit 13 L, bit 14 D/B.
CODE_ACCESS = "cs_access"

REGISTER_NAMES = (*GENERAL, *SELECTORS, *BASES, *CONTROL, *DEBUG, CODE_ACCESS)

# The values of all of REGISTER_NAMES.
Registers = Mapping[str, int]

Mode = Literal["live", "record", "replay"]


class TargetError(Exception):
    """The target cannot do it; str() is one line that says why."""


class MemoryFault(TargetError):
    """Memory that is not mapped, not there, or MMIO: the bytes before `address` were accessed."""

    def __init__(self, address: int, done: bytes = b"") -> None:
        super().__init__(f"cannot access memory at {address:#x}")
        self.address = address
        self.done = done


class ReadOnly(TargetError):
    """The write would make the replay another run. `force-writes on` allows it."""


class BreakpointKind(enum.IntEnum):
    """Kinds of breakpoints, with the numbers of the protocol's Z packets."""

    SOFTWARE = 0
    HARDWARE = 1
    WRITE = 2
    READ = 3
    ACCESS = 4


class StopReason(enum.Enum):
    """Why the guest does not run."""

    BREAKPOINT = "breakpoint"
    HARDWARE_BREAKPOINT = "hardware breakpoint"
    WATCHPOINT = "watchpoint"
    STEP = "step"
    INTERRUPT = "interrupt"
    HALTED = "halted"  # it cannot go on: power-off, reset, triple fault, panic
    END_OF_LOG = "end of the recording"
    START_OF_LOG = "beginning of the recording"
    SOUGHT = "a place that was sought"


@dataclass(frozen=True)
class Stop:
    """A stop of the guest.

    `address` is, for a watchpoint, the linear address of the first accessed byte that is watched,
    and `kind` the kind under which it was set. `text` says more to the user, in one line.
    """

    reason: StopReason
    address: int | None = None
    kind: BreakpointKind | None = None
    text: str = ""


class MemoryKind(enum.Enum):
    """What is behind a range of physical addresses."""

    RAM = "ram"
    ROM = "rom"
    MMIO = "mmio"


@dataclass(frozen=True)
class MemoryRange:
    """Physical addresses [start, end)."""

    start: int
    end: int
    kind: MemoryKind


class Target(Protocol):
    """A machine with one CPU under a debugger.

    The guest's state may be read and changed only while it is stopped. Nothing here shows in the
    guest: a software breakpoint is in no memory that it, or read_memory(), can read, and resuming
    and stepping from a breakpoint's address execute the instruction there.
    """

    @property
    def mode(self) -> Mode:
        """How the guest runs."""
        ...

    def registers(self) -> Registers:
        """All registers but the FPU's, by the names in REGISTER_NAMES."""
        ...

    def write_register(self, name: str, value: int) -> None:
        """Change one of REGISTER_NAMES. Raises ReadOnly in replay."""
        ...

    def fpu(self) -> bytes:
        """The XSAVE image in standard format (SDM volume 1, 13.4): 512 or 576 bytes, or more."""
        ...

    def write_fpu(self, image: bytes) -> None:
        """Load the FPU from such an image. Raises ReadOnly in replay."""
        ...

    def read_memory(self, address: int, length: int, *, physical: bool = False) -> bytes:
        """Exactly `length` bytes, at a linear address or a physical one.

        Never touches a device: MMIO raises MemoryFault like memory that is not there.
        """
        ...

    def write_memory(self, address: int, data: bytes, *, physical: bool = False) -> None:
        """Write all of `data`. Raises MemoryFault, and ReadOnly in replay."""
        ...

    def set_breakpoint(self, kind: BreakpointKind, address: int, length: int) -> None:
        """Set one that is not set. `length` is 1 to execute, the bytes watched otherwise."""
        ...

    def clear_breakpoint(self, kind: BreakpointKind, address: int, length: int) -> None:
        """Clear one that is set."""
        ...

    def resume(self) -> None:
        """Let the guest run; returns at once."""
        ...

    def step(self) -> None:
        """Let the guest run one instruction; returns at once, poll_stop() tells the end."""
        ...

    @property
    def can_reverse(self) -> bool:
        """Whether reverse() and seek() work: a replay with checkpoints."""
        ...

    def reverse(self, *, step: bool) -> None:
        """Let the guest go back, one instruction or to where a breakpoint or watchpoint was last
        met; returns at once. poll_stop() tells the end: for a watchpoint that is before the access.
        """
        ...

    def seek(self, place: str) -> None:
        """Let the guest go to a place that the user has named; as reverse()."""
        ...

    def progress(self) -> str:
        """How far that is, in a line; empty where nothing is to be said."""
        ...

    def interrupt(self) -> None:
        """Ask a running guest to stop; returns at once. Nothing happens to one that is stopped."""
        ...

    def poll_stop(self, timeout_s: float) -> Stop | None:
        """Why the guest is stopped, after up to `timeout_s` of waiting for it; None: it runs.

        Can be asked again and again while the guest is stopped.
        """
        ...

    def memory_map(self) -> Sequence[MemoryRange]:
        """The physical address space, ascending, without overlaps."""
        ...

    def query(self, name: str, argument: str) -> str:
        """The answer, of any number of lines, to one of the user's `monitor` commands."""
        ...

    def reset(self) -> None:
        """Start the guest from its beginning, and leave it stopped there. Raises ReadOnly."""
        ...
