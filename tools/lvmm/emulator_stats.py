"""The statistics file of an emulated board (boards/bochs/pmu/stats.h)."""

import dataclasses
import struct

from lvmm.errors import MachineError

# Magic, version, size, seven counters, 128 exit counts, four of the line, marks made.
_STATS = struct.Struct("<8sII7Q128Q4QQ")
_MARK = struct.Struct("<7Q128Q")
_MARKS_MAX = 64
_EXIT_REASONS = 128
_STATS_MAGIC = b"LVMMSTAT"
_STATS_VERSION = 3


@dataclasses.dataclass(frozen=True)
class LineStats:
    """The monitor's serial line as the machine sees it.

    `bytes_in` and `bytes_out` since power-on; `request_ticks`: when the machine read the first
    byte since it had written one; `reply_ticks`: when it wrote the last one.
    """

    bytes_in: int
    bytes_out: int
    request_ticks: int
    reply_ticks: int


@dataclasses.dataclass(frozen=True)
class StatsMark:
    """The counters when software in the machine made a mark, exactly (boards/bochs/pmu/stats.h).

    `wall_s` by the host's time.monotonic(), `cpu_s` the processor time that the emulator had taken.
    """

    number: int
    instructions: int
    guest_instructions: int
    branches: int
    ticks: int
    wall_s: float
    cpu_s: float
    exits: dict[int, int]

    @property
    def host_instructions(self) -> int:
        """Retired outside of VMX non-root operation."""
        return self.instructions - self.guest_instructions


@dataclasses.dataclass(frozen=True)
class Stats:
    """Counters since power-on; `instructions` are both the monitor's and the guest's.

    `ticks` is emulated time in units of 1/ips second; `exits` maps a basic VM-exit reason
    (SDM vol. 3D, appendix C) to its count.
    """

    instructions: int
    guest_instructions: int
    branches: int
    overflows: int
    overflow_nmis: int
    resets: int
    ticks: int
    exits: dict[int, int]
    line: LineStats
    marks: tuple[StatsMark, ...] = ()

    @property
    def host_instructions(self) -> int:
        """Retired outside of VMX non-root operation: firmware, boot loader, monitor."""
        return self.instructions - self.guest_instructions


def parse_stats(data: bytes) -> Stats:
    """Parse a statistics file. Raises MachineError where it is none."""
    if len(data) < _STATS.size:
        raise MachineError("the emulator left no statistics")
    magic, version, _size, *numbers = _STATS.unpack_from(data)
    if magic != _STATS_MAGIC or version != _STATS_VERSION:
        raise MachineError("the emulator's statistics have another format")
    instructions, guest, branches, overflows, nmis, resets, ticks, *counts = numbers
    exits, guest = _exits(counts[:_EXIT_REASONS], guest)
    *line, made = counts[_EXIT_REASONS:]
    places = range(_STATS.size, len(data) - _MARK.size + 1, _MARK.size)[: min(made, _MARKS_MAX)]
    return Stats(
        *(instructions, guest, branches, overflows, nmis, resets, ticks, exits),
        LineStats(*line),
        tuple(_mark(data, place) for place in places),
    )


def _exits(counts: list[int], guest_instructions: int) -> tuple[dict[int, int], int]:
    """By reason; and the guest's instructions: the emulator counts the one that enters the guest
    when the guest is there already.
    """
    exits = {reason: count for reason, count in enumerate(counts) if count}
    return exits, guest_instructions - sum(exits.values())


def _mark(data: bytes, place: int) -> StatsMark:
    number, instructions, guest, branches, ticks, wall, cpu, *counts = _MARK.unpack_from(
        data, place
    )
    exits, guest = _exits(counts, guest)
    return StatsMark(number, instructions, guest, branches, ticks, wall / 1e9, cpu / 1e9, exits)
