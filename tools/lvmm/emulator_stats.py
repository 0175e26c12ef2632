"""The statistics file of an emulated board (boards/bochs/pmu/stats.h)."""

import dataclasses
import struct

from lvmm.errors import MachineError

# Magic, version, size, seven counters, 128 exit counts, four of the line.
_STATS = struct.Struct("<8sII7Q128Q4Q")
_EXIT_REASONS = 128
_STATS_MAGIC = b"LVMMSTAT"
_STATS_VERSION = 2


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
    exits = {reason: count for reason, count in enumerate(counts[:_EXIT_REASONS]) if count}
    # The emulator counts the instruction that enters the guest when the guest is there already.
    guest -= sum(exits.values())
    line = LineStats(*counts[_EXIT_REASONS:])
    return Stats(instructions, guest, branches, overflows, nmis, resets, ticks, exits, line)
