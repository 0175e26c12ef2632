"""Names for the addresses of a guest's code: symbol and offset, module, or where else it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lvmm.guest_view import AddressSpace, Physical
from lvmm.linux_modules import Module, all_modules, find_module, in_module_space
from lvmm.symbols import (
    SymbolsUnavailable,
    SymbolTable,
    elf_symbols,
    find_kernel,
    kernel_symbols,
)

KERNEL_ON_DISK = "no symbols: the kernel is on the guest's disk"

_USER_END = 1 << 47


class GuestNames:
    """Names of addresses; `note` says in one line why there are none, or is empty.

    `kernel_offset` is the KASLR offset of a Linux kernel in bytes, None when it was not found.
    """

    def __init__(
        self,
        table: SymbolTable | None,
        note: str = "",
        kernel: tuple[AddressSpace, int] | None = None,
    ) -> None:
        """Use for_multiboot(), for_linux() or unknown()."""
        self.note = note
        self._table = table
        self._space = kernel[0] if kernel is not None else None
        self.kernel_offset = kernel[1] if kernel is not None else None
        self._modules: list[Module] = []

    @classmethod
    def unknown(cls, note: str) -> GuestNames:
        """No names at all."""
        return cls(None, note)

    @classmethod
    def for_multiboot(cls, elf: Path) -> GuestNames:
        """The names of an ELF file that runs where it was linked."""
        try:
            return cls(elf_symbols(elf))
        except SymbolsUnavailable as reason:
            return cls.unknown(str(reason))

    @classmethod
    def for_linux(cls, image: Path, memory: Physical | None, cr3: int) -> GuestNames:
        """The names of a Linux kernel that runs in `memory`."""
        if memory is None:
            return cls.unknown(
                "no symbols: without the replay's memory the kernel's place (KASLR) is unknown"
            )
        try:
            table = kernel_symbols(image)
        except SymbolsUnavailable as reason:
            return cls.unknown(str(reason))
        kernel = find_kernel(memory, cr3, table)
        if kernel is None:
            return cls.unknown("no symbols: the kernel is not mapped (yet), as early in the boot")
        return cls(table, "", kernel)

    def symbol(self, address: int) -> str | None:
        """`symbol+0x1f`, in a module `symbol+0x1f [module]` or at least `0x41f [module]`."""
        if self._table is None:
            return None
        offset = self.kernel_offset or 0
        found = self._table.lookup(address - offset)
        if found is not None:
            return f"{found[0]}+{address - offset - found[1]:#x}"
        module = self._module(address)
        if module is None:
            return None
        found = module.symbols.lookup(address) if module.symbols else None
        if found is None:
            return f"{address - module.base:#x} [{module.name}]"
        return f"{found[0]}+{address - found[1]:#x} [{module.name}]"

    def describe(self, address: int) -> str | None:
        """The symbol, or else where the address is; None without symbols."""
        if self._table is None:
            return None
        symbol = self.symbol(address)
        if symbol is not None:
            return symbol
        if self._space is None:
            return "outside the guest's image"
        if address < _USER_END:
            return "user space or early boot"
        if in_module_space(address):
            return "in a module or unmapped"
        return "outside the kernel's image"

    def address(self, name: str) -> int | None:
        """Where a symbol of the program, the kernel or a loaded module is."""
        if self._table is None:
            return None
        offset = self.kernel_offset or 0
        if name in self._table.named:
            return self._table.named[name] + offset
        head = self._table.named.get("modules")
        if self._space is None or head is None:
            return None
        for module in all_modules(self._space, head + offset):
            if module.symbols is not None and name in module.symbols.named:
                return module.symbols.named[name]
        return None

    def own_names(self) -> Iterable[str]:
        """The symbols' names, without those of modules."""
        return self._table.named if self._table is not None else ()

    def covers(self, address: int) -> bool:
        """Whether there may be code at the address: it has a symbol, or there are none at all."""
        return self._table is None or self.symbol(address) is not None

    def start(self, address: int) -> int | None:
        """Where the symbol that has the address begins."""
        if self._table is None:
            return None
        offset = self.kernel_offset or 0
        symbol = self._table.lookup(address - offset)
        if symbol is not None:
            return symbol[1] + offset
        module = self._module(address)
        symbol = module.symbols.lookup(address) if module and module.symbols else None
        return symbol[1] if symbol else None

    def _module(self, address: int) -> Module | None:
        for known in self._modules:
            if known.base <= address < known.base + known.size:
                return known
        head = self._table.named.get("modules") if self._table is not None else None
        if self._space is None or head is None or not in_module_space(address):
            return None
        module = find_module(self._space, head + (self.kernel_offset or 0), address)
        if module is not None:
            self._modules.append(module)
        return module
