"""A symbol file of a Linux kernel and its modules, from nothing but its memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvmm.errors import EnvironmentProblem, RecordingError
from lvmm.guest_view import AddressSpace, Physical
from lvmm.linux_modules import all_modules
from lvmm.symbol_file import Part, write_symbol_file
from lvmm.vmcore.kallsyms import read_kallsyms
from lvmm.vmcore.orc import FrameWriter, new_types, read_orc
from lvmm.vmcore.vmcoreinfo import find_vmcoreinfo

_KERNEL_ORC = (
    *("__start_orc_unwind_ip", "__start_orc_unwind", "__stop_orc_unwind_ip", "__stop_orc_unwind"),
)


@dataclass(frozen=True)
class SymbolFile:
    """What was written: symbols, modules by name, and whether the stack can be unwound by it."""

    symbols: int
    modules: list[str]
    unwinds: bool

    def __str__(self) -> str:
        modules = ", ".join(self.modules) or "none"
        frames = "" if self.unwinds else "; no table for unwinding the stack was found"
        return f"{self.symbols} symbols; modules: {modules}{frames}"


def save_symbols(memory: Physical, ranges: Sequence[tuple[int, int]], path: Path) -> SymbolFile:
    """Writes the symbols of the Linux kernel in these ranges of memory.

    Raises RecordingError when there is none, or one that is too old to tell its symbols, and
    EnvironmentProblem.
    """
    info = find_vmcoreinfo(memory, ranges)
    space = info.kernel_space(memory) if info is not None else None
    if info is None or space is None:
        raise RecordingError(
            "no Linux kernel was found in the guest's memory: it has no VMCOREINFO"
        )
    found = read_kallsyms(space, info)
    if found is None:
        raise RecordingError(
            f"Linux {info.release} does not tell where its symbols are (since 6.0): use those of "
            "`monitor symbols` in gdb at a replay"
        )
    named = found.named()
    start, end = named["_text"], named["_end"]
    kernel = [item for item in found.symbols if start <= item[0] < end]
    parts = [Part("kernel", start, end, kernel)]
    frames = FrameWriter(new=new_types(info.release))
    unwinds = _add_kernel_frames(frames, space, named, kernel)
    for module in all_modules(space, named["modules"]):
        if module.symbols is None:
            continue
        symbols = [(address, name) for name, address in module.symbols.named.items()]
        last = module.base + module.size
        parts.append(Part(module.name, module.base, last, symbols))
        if module.orc is not None:
            place = module.orc
            table = read_orc(space, place.ips, place.entries, place.count)
            if table is not None:
                frames.add(table, _functions(symbols, module.base, last))
    try:
        count = write_symbol_file(path, parts, frames.content)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror}") from None
    return SymbolFile(count, [part.name for part in parts[1:]], unwinds)


def _add_kernel_frames(
    frames: FrameWriter,
    space: AddressSpace,
    named: dict[str, int],
    symbols: Iterable[tuple[int, str]],
) -> bool:
    if not all(name in named for name in _KERNEL_ORC):
        return False  # a kernel with frame pointers
    ips, entries, ips_end, _ = (named[name] for name in _KERNEL_ORC)
    table = read_orc(space, ips, entries, (ips_end - ips) // 4)
    if table is None:
        return False
    frames.add(table, _functions(symbols, named["_text"], named["_etext"]))
    return True


def _functions(
    symbols: Iterable[tuple[int, str]], start: int, end: int
) -> Iterator[tuple[int, int]]:
    """The ranges between symbols in [start, end)."""
    places = sorted({start, end, *(address for address, _ in symbols if start <= address < end)})
    yield from itertools.pairwise(places)
