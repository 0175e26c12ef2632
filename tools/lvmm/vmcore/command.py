"""`extract_log.py core`: the guest of a memory image as an ELF core."""

from __future__ import annotations

from pathlib import Path

from lvmm.logs.output import check_replaceable
from lvmm.logs.printing import note
from lvmm.logs.recording import Recording
from lvmm.vmcore.guest_core import core_of_image, save_core
from lvmm.vmcore.kernel_symbols import save_symbols


def core(recording: Recording, output: Path, symbols: Path | None) -> int:
    """Writes the core, and the symbols of a Linux kernel; the exit code. Raises LvmmError."""
    for file in (output, symbols):
        check_replaceable(file, recording.source.name)
    guest = core_of_image(recording)
    written = save_core(guest, output)
    note(f"{output}: {written}")
    if guest.registers is None:
        note("no registers: the machine ran on after the log's last event")
    if written.cut_short:
        note("the page tables map more than a core can have: they are damaged, or no page tables")
    if symbols is not None:
        note(f"{symbols}: {save_symbols(guest.memory, guest.ranges, symbols)}")
    return 0
