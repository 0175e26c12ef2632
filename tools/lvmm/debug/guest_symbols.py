"""The symbols of a running Linux kernel and of its modules, as a file for gdb."""

from __future__ import annotations

from pathlib import Path

from lvmm.gdb.target import MemoryFault, Target, TargetError
from lvmm.guest_view import PAGE
from lvmm.linux_modules import all_modules
from lvmm.symbol_file import Part, write_symbol_file
from lvmm.symbols import SymbolsUnavailable, find_kernel, kernel_symbols


class GuestSymbols:
    """Makes the file `output` from the kernel `image` and what is in the guest's memory."""

    def __init__(self, image: Path, output: Path) -> None:
        self._image = image
        self._output = output

    def write(self, target: Target) -> str:
        """Writes it; returns what to tell the user. Raises TargetError."""
        try:
            table = kernel_symbols(self._image)
        except SymbolsUnavailable as reason:
            raise TargetError(str(reason)) from None
        memory = _TargetMemory(target)
        kernel = find_kernel(memory, target.registers()["cr3"], table)
        if kernel is None:
            raise TargetError("the kernel is not mapped (yet), as early in the boot")
        space, offset = kernel
        symbols = [(address + offset, name) for name, address in table.named.items()]
        parts = [Part("kernel", table.start + offset, table.end + offset, symbols)]
        head = table.named.get("modules")
        for module in all_modules(space, head + offset) if head is not None else ():
            if module.symbols is not None:
                found = [(address, name) for name, address in module.symbols.named.items()]
                parts.append(Part(module.name, module.base, module.base + module.size, found))
        try:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            count = write_symbol_file(self._output, parts)
        except OSError as error:
            raise TargetError(f"cannot write {self._output}: {error.strerror}") from None
        modules = ", ".join(part.name for part in parts[1:]) or "none"
        return (
            f"{count} symbols; KASLR offset {offset:#x}; modules: {modules}. Now:\n"
            f"symbol-file {self._output}"
        )


class _TargetMemory:
    """Physical memory by pages, each read once: the guest is stopped meanwhile."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pages: dict[int, bytes] = {}

    def read(self, offset: int, size: int) -> bytes:
        """As lvmm.guest_view.Physical: short or empty where there is no RAM."""
        parts = []
        while size > 0:
            page = self._page(offset - offset % PAGE)
            part = page[offset % PAGE :][:size]
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def _page(self, address: int) -> bytes:
        if address not in self._pages:
            try:
                data = self._target.read_memory(address, PAGE, physical=True)
            except MemoryFault as fault:
                data = fault.done
            self._pages[address] = data
        return self._pages[address]
