"""Symbols of a guest: from an ELF file, or recovered from a stripped Linux kernel.

A stripped bzImage still carries kallsyms, the kernel's own symbol table. Recovering it takes about
half a minute; the result is kept in the cache directory under the image's SHA-256. Where the kernel
was loaded (KASLR) is then found in guest memory.
"""

from __future__ import annotations

import bisect
import gzip
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvmm.cache import cache_dir
from lvmm.errors import LvmmError
from lvmm.guest_view import PAGE, AddressSpace, Mode, Physical
from lvmm.messages import say

_RECOVERY = "vmlinux_to_elf.scripts.kallsyms_finder"
_RECOVERY_PACKAGE = "vmlinux-to-elf"
_RECOVERY_TIMEOUT_S = 600
_CACHE_MAGIC = "lvmm-symbols 1"

_BANNER = b"Linux version "
# Where x86-64 Linux maps its image (arch/x86/include/asm/page_64_types.h), and its alignment.
_IMAGE_SPACE_END = 0xFFFF_FFFF_C000_0000
_IMAGE_ALIGN = 2 << 20
# With page-table isolation this bit of CR3 chooses the user's tables, which lack the kernel.
_PTI_USER = 1 << 12


class SymbolsUnavailable(Exception):
    """There are no symbols; str() tells why, in one line. Never ends a command."""


class SymbolTable:
    """Symbols of an image that occupies the addresses from `start` up to `end`.

    `named` has the address of every symbol; at an address with several names lookup() prefers
    those without leading underscores.
    """

    def __init__(
        self,
        symbols: Iterable[tuple[int, str]],
        start: int | None = None,
        end: int | None = None,
    ) -> None:
        """Symbols outside of [start, end) are left out; the default range is that of all."""
        kept = sorted(
            ((address, name) for address, name in symbols if _within(address, start, end)),
            key=lambda symbol: (symbol[0], _underscores(symbol[1])),
        )
        self.named: dict[str, int] = {}
        self._addresses: list[int] = []
        self._names: list[str] = []
        for address, name in kept:
            self.named.setdefault(name, address)
            if not self._addresses or self._addresses[-1] != address:
                self._addresses.append(address)
                self._names.append(name)
        first, last = (self._addresses[0], self._addresses[-1]) if kept else (0, -1)
        self.start = first if start is None else start
        self.end = last + 1 if end is None else end

    def __len__(self) -> int:
        return len(self.named)

    def lookup(self, address: int) -> tuple[str, int] | None:
        """Name of the symbol at or before `address`, and its address."""
        if not self.start <= address < self.end:
            return None
        index = bisect.bisect_right(self._addresses, address) - 1
        return (self._names[index], self._addresses[index]) if index >= 0 else None


def _within(address: int, start: int | None, end: int | None) -> bool:
    return (start is None or address >= start) and (end is None or address < end)


def _underscores(name: str) -> int:
    return len(name) - len(name.lstrip("_"))


def elf_symbols(path: Path) -> SymbolTable:
    """The symbols of an ELF file. Raises SymbolsUnavailable."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection
    except ImportError:
        raise SymbolsUnavailable("no symbols: the Python package pyelftools is missing") from None
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            loaded = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_memsz"]]
            table = elf.get_section_by_name(".symtab")
            if not loaded or not isinstance(table, SymbolTableSection):
                raise SymbolsUnavailable(f"no symbols: {path.name} has no symbol table")
            found = [
                (symbol["st_value"], symbol.name)
                for symbol in table.iter_symbols()
                if symbol.name
                and symbol["st_info"]["type"] not in ("STT_FILE", "STT_SECTION")
                and symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")
            ]
            start = min(s["p_vaddr"] for s in loaded)
            end = max(s["p_vaddr"] + s["p_memsz"] for s in loaded)
    except OSError as error:
        raise SymbolsUnavailable(f"no symbols: {path.name}: {error.strerror}") from None
    except ELFError as error:
        raise SymbolsUnavailable(f"no symbols: {path.name} is no ELF file: {error}") from None
    return SymbolTable(found, start, end)


def kernel_symbols(image: Path) -> SymbolTable:
    """The symbols of a Linux kernel, stripped or not, at its link addresses; slow the first time.

    Raises SymbolsUnavailable.
    """
    try:
        with image.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        cached = cache_dir() / "symbols" / f"{digest}.gz"
        symbols = _read_cache(cached)
        if symbols is None:
            symbols = _recover(image)
            _write_cache(cached, symbols)
    except (OSError, LvmmError) as error:
        raise SymbolsUnavailable(f"no symbols: {error}") from None
    named = {name: address for address, name in symbols}
    if "_text" not in named or "_end" not in named:
        raise SymbolsUnavailable("no symbols: those recovered from the kernel have no _text, _end")
    # What is below _text is per-CPU offsets.
    return SymbolTable(symbols, named["_text"], named["_end"])


def _recover(image: Path) -> list[tuple[int, str]]:
    if importlib.util.find_spec("vmlinux_to_elf") is None:
        raise SymbolsUnavailable(f"no symbols: the Python package {_RECOVERY_PACKAGE} is missing")
    say("recovering the kernel's symbols, once (about half a minute)")
    with tempfile.TemporaryDirectory(prefix="lvmm-symbols-") as scratch:
        output = Path(scratch) / "kernel.kallsyms"
        command = [sys.executable, "-m", _RECOVERY, "--output", str(output), str(image)]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=_RECOVERY_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise SymbolsUnavailable("no symbols: recovering them took too long") from None
        if done.returncode != 0 or not output.exists():
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no output"]
            raise SymbolsUnavailable(
                f"no symbols: {_RECOVERY_PACKAGE} found none in {image.name}: {lines[-1]}"
            )
        return [
            (int(parts[0], 16), parts[2])
            for line in output.read_text(encoding="utf-8", errors="replace").splitlines()
            if len(parts := line.split()) == 3
        ]


def _read_cache(path: Path) -> list[tuple[int, str]] | None:
    """What is in a cache file; None where there is none, or a damaged one."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            if file.readline().rstrip("\n") != _CACHE_MAGIC:
                return None
            return [(int(address, 16), name) for address, name in map(str.split, file)]
    except (OSError, EOFError, ValueError):
        return None


def _write_cache(path: Path, symbols: list[tuple[int, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    text = "".join(f"{address:x} {name}\n" for address, name in sorted(symbols))
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(gzip.compress(f"{_CACHE_MAGIC}\n{text}".encode()))
    fresh.replace(path)


def find_kernel(memory: Physical, cr3: int, table: SymbolTable) -> tuple[AddressSpace, int] | None:
    """Where a Linux kernel is mapped: an address space that has it, and its KASLR offset in bytes.

    Sure, because the text of the kernel's banner stands where the offset puts it. None when the
    kernel is not mapped, as before it has unpacked itself.
    """
    banner = table.named.get("linux_banner")
    if banner is None:
        return None
    for space in _kernel_spaces(memory, cr3):
        for offset in range(0, max(_IMAGE_SPACE_END - table.end, 0) + 1, _IMAGE_ALIGN):
            if space.read(banner + offset, len(_BANNER)) == _BANNER:
                return space, offset
    return None


def _kernel_spaces(memory: Physical, cr3: int) -> Iterator[AddressSpace]:
    if cr3 & ~(PAGE - 1) == 0:
        return
    for value in dict.fromkeys((cr3, cr3 & ~_PTI_USER)):
        yield AddressSpace(memory, Mode.LEVEL4, value)
        yield AddressSpace(memory, Mode.LEVEL5, value)
