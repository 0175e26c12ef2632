"""A core of a guest: its registers and its RAM, where they come from and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lvmm.errors import RecordingError, UsageError
from lvmm.guest_view import AddressSpace, Physical, paging_mode
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import End, EndReason, FinalState
from lvmm.logs.output import new_file
from lvmm.logs.recording import Recording
from lvmm.memory_digest import ram_ranges
from lvmm.vmcore.elf_core import write_core
from lvmm.vmcore.page_runs import RunMap
from lvmm.vmcore.prstatus import end_registers, prstatus
from lvmm.vmcore.vmcoreinfo import VmcoreInfo, find_vmcoreinfo


@dataclass(frozen=True)
class GuestCore:
    """A guest to make a core of: RAM, where it is (start and end), and the registers by name.

    `registers` is None where they are not known: the core has memory only.
    """

    memory: Physical
    ranges: list[tuple[int, int]]
    registers: Mapping[str, int] | None


@dataclass(frozen=True)
class Written:
    """What is in a core: bytes of RAM and segments; `release` of a Linux kernel, empty without one.

    `cut_short`: the page tables map more than the core has.
    """

    memory_bytes: int
    segments: int
    release: str
    cut_short: bool

    def __str__(self) -> str:
        what = f"Linux {self.release}" if self.release else "no Linux kernel was found in it"
        return f"{self.memory_bytes >> 20} MiB of memory in {self.segments} segments; {what}"


def core_of_image(recording: Recording) -> GuestCore:
    """The guest in a memory image that has its log as well.

    Raises UsageError where there is no memory, RecordingError where the log does not say enough.
    """
    name = recording.source.name
    if recording.region is None:
        raise UsageError(
            f"{name} is a log without the guest's memory; a replay makes the core: "
            "./lvmm replay DIR --core FILE"
        )
    if recording.header is None:
        raise RecordingError(f"{name}: the recording header is lost: where the RAM is is unknown")
    size = recording.header.machine.guest_memory_bytes
    base = recording.region.base
    ranges = ram_ranges(recording.header, size)
    end_of_log = base + recording.region.header.region_size
    apart = all(high <= base or low >= end_of_log for low, high in ranges)
    if not ranges or ranges[-1][1] > recording.source.size or not apart:
        raise UsageError(
            f"{name} has the log but not the guest's memory: an image of all the machine's memory "
            "is needed, byte N of which is physical address N"
        )
    end = recording.end()
    payload = end.payload if end is not None else None
    registers = None
    # A guest that ended the recording itself has run on: memory is not of then.
    if isinstance(payload, End) and payload.reason != EndReason.GUEST_STOP:
        registers = end_registers(FinalState.unpack(payload.state))
    return GuestCore(recording.source, ranges, registers)


def core_of_replay(
    memory: Physical, header: RecordingHeader, registers: Mapping[str, int]
) -> GuestCore:
    """The guest of a replay that has stopped."""
    return GuestCore(memory, ram_ranges(header, header.machine.guest_memory_bytes), registers)


def save_core(core: GuestCore, path: Path) -> Written:
    """Writes the core, whole or not at all. Raises EnvironmentProblem."""
    info = find_vmcoreinfo(core.memory, core.ranges)
    runs = RunMap(_spaces(core, info), core.ranges)
    notes = [] if core.registers is None else [prstatus(core.registers)]
    if info is not None:
        notes.append(info.note())
    with new_file(path) as file:
        write_core(file, notes, runs.runs, core.memory, core.ranges)
    return Written(
        sum(end - start for start, end in core.ranges),
        len(runs.runs),
        info.release if info is not None else "",
        runs.cut_short,
    )


def _spaces(core: GuestCore, info: VmcoreInfo | None) -> list[AddressSpace]:
    """That of the CPU first, then the kernel's, which the CPU's may lack (page-table isolation)."""
    spaces = []
    if core.registers is not None:
        mode = paging_mode(*(core.registers[name] for name in ("cr0", "cr4", "efer")))
        spaces.append(AddressSpace(core.memory, mode, core.registers["cr3"]))
    kernel = info.kernel_space(core.memory) if info is not None else None
    return spaces if kernel is None else [*spaces, kernel]
