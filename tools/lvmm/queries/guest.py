"""The guest of a replay that has stopped: names, types, and who runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvmm.guest import Kind
from lvmm.guest_names import KERNEL_ON_DISK, GuestNames
from lvmm.guest_view import AddressSpace, Physical, paging_mode
from lvmm.queries.btf_types import KernelTypes
from lvmm.queries.data_types import NoTypes, Types
from lvmm.queries.dwarf_types import program_types
from lvmm.symbols import SymbolsUnavailable, SymbolTable, find_kernel, kernel_symbols
from lvmm.vmcore.btf import Btf, BtfError

# Where x86-64 Linux links its text; KASLR only moves it up (arch/x86/include/asm/page_64_types.h).
KERNEL_TEXT = 0xFFFF_FFFF_8000_0000
# All modules are in their places, and this one has not been started, when Linux calls this.
MODULE_LOADED = "do_init_module"

_LONG = 1 << 13  # of a code segment's access rights
_BIG = 1 << 14
_EFER_LMA = 1 << 10
_COMM_BYTES = 16


@dataclass(frozen=True)
class Look:
    """The CPU at a stop: registers by the names of lvmm.debug.registers."""

    registers: Mapping[str, int]
    memory: Physical

    @property
    def space(self) -> AddressSpace:
        """What the guest sees at linear addresses."""
        mode = paging_mode(*(self.registers[name] for name in ("cr0", "cr4", "efer")))
        return AddressSpace(self.memory, mode, self.registers["cr3"])

    @property
    def bits(self) -> int:
        """Of the code that runs: 16, 32 or 64."""
        access = self.registers["cs_access"]
        if self.registers["efer"] & _EFER_LMA and access & _LONG:
            return 64
        return 32 if access & _BIG else 16

    @property
    def rip(self) -> int:
        """As a linear address."""
        base = 0 if self.bits == 64 else self.registers["cs_base"]
        return base + self.registers["rip"]


class SearchedGuest:
    """What is known of the guest. `ready`: its program is in its place, so that names have
    addresses.
    """

    def __init__(self, kind: Kind, image: Path | None) -> None:
        """Takes half a minute for a Linux kernel that was never seen before."""
        self._table: SymbolTable | None = None
        self._space: AddressSpace | None = None
        self._current: tuple[int, int, int] | None = None  # offsets: per-CPU, of comm, of pid
        self.types: Types = NoTypes()
        self.is_linux = kind == "linux"
        self.ready = not self.is_linux
        if image is None:
            self.names = GuestNames.unknown(KERNEL_ON_DISK)
        elif kind == "multiboot":
            self.names = GuestNames.for_multiboot(image)
            self.types = program_types(image)
        elif kind == "sector":
            self.names = GuestNames.unknown("no symbols: a boot sector has none")
        else:
            try:
                self._table = kernel_symbols(image)
                self.names = GuestNames.unknown("no symbols: the kernel was never mapped")
            except SymbolsUnavailable as reason:
                self.names = GuestNames.unknown(str(reason))
                self.ready = True

    def look(self, look: Look) -> None:
        """Finds the Linux kernel when it is in its place, and where its tables are."""
        if self.ready or self._table is None:
            return
        found = find_kernel(look.memory, look.registers["cr3"], self._table)
        if found is None:
            return
        here, offset = found
        top = here.translate(self._table.named.get("init_top_pgt", 0) + offset)
        self._space = here if top is None else AddressSpace(look.memory, here.mode, top)
        # The tables of a boot are short-lived, those of init are not.
        self.names = GuestNames(self._table, "", (self._space, offset))
        self.types = self._kernel_types(here)
        self._current = self._find_current()
        self.ready = True

    def known_names(self) -> Iterable[str]:
        """Those that need no running guest: of the program or the kernel, without modules."""
        table = self._table
        return table.named if table is not None else self.names.own_names()

    def task(self, look: Look) -> str | None:
        """Linux's current task as `comm/pid`; None where it cannot be told."""
        space = self._space
        if self._current is None or space is None:
            return None
        current, comm_at, pid_at = self._current
        base = look.registers["gs_base"]
        if not base >> 63:  # user space has its own; the kernel's is behind SWAPGS
            base = look.registers["kernel_gs_base"]
        task = space.read_u64((base + current) % (1 << 64))
        if task is None or not task >> 63:
            return None
        comm = space.read(task + comm_at, _COMM_BYTES)
        pid = space.read(task + pid_at, 4)
        if len(pid) < 4:
            return None
        name = comm.split(b"\0")[0].decode("utf-8", "replace")
        return f"{name}/{int.from_bytes(pid, 'little')}"

    def _find_current(self) -> tuple[int, int, int] | None:
        if not isinstance(self.types, KernelTypes):
            return None
        current = self.types.per_cpu.get("current_task")
        kind = self.types.structure("task_struct")
        fields = kind.members() if kind is not None else {}
        if current is None or "comm" not in fields or "pid" not in fields:
            return None
        return current, fields["comm"][0], fields["pid"][0]

    def _kernel_types(self, space: AddressSpace) -> Types:
        ends = [self.names.address(name) for name in ("__start_BTF", "__stop_BTF")]
        if ends[0] is None or ends[1] is None:
            return NoTypes()
        try:
            return KernelTypes(Btf(space.read(ends[0], ends[1] - ends[0])))
        except BtfError:
            return NoTypes()
