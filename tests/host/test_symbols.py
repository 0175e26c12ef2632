"""Page walks, symbol tables, their cache, and finding a kernel and its modules in memory."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmm import symbols
from lvmm.guest_names import GuestNames
from lvmm.guest_view import AddressSpace, Mode, find_code
from lvmm.linux_modules import find_module
from lvmm.symbols import SymbolsUnavailable, SymbolTable, elf_symbols, find_kernel, kernel_symbols

# One worker: they share what is made once.
pytestmark = [pytest.mark.host, pytest.mark.xdist_group(__name__)]

PAGE = 4096
KERNEL = 0xFFFF_FFFF_8100_0000
MODULES = 0xFFFF_FFFF_C000_0000
PRESENT, LARGE = 1, 1 << 7
NX = 1 << 63
CODE = bytes.fromhex("0fb64810ebfe90")


class Memory:
    """Physical memory in which pages are taken from the start upwards."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.data = bytearray(size)
        self.free = PAGE

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def store(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def page(self) -> int:
        self.free += PAGE
        return self.free - PAGE


class Tables:
    """Page tables of any mode, written into a Memory."""

    LEVELS = {  # noqa: RUF012 - constant
        Mode.LEGACY: (22, 12),
        Mode.PAE: (30, 21, 12),
        Mode.LEVEL4: (39, 30, 21, 12),
        Mode.LEVEL5: (48, 39, 30, 21, 12),
    }

    def __init__(self, memory: Memory, mode: Mode) -> None:
        self.memory = memory
        self.mode = mode
        self.size = 4 if mode is Mode.LEGACY else 8
        self.root = memory.page()

    def map(self, linear: int, physical: int, shift: int = 12) -> None:
        table = self.root
        for level in self.LEVELS[self.mode]:
            bits = 10 if self.mode is Mode.LEGACY else 9
            at = table + (linear >> level & ((1 << bits) - 1)) * self.size
            if self.mode is Mode.PAE and level == 30:
                at = table + (linear >> 30 & 3) * 8
            if level == shift:
                self._put(at, physical | PRESENT | (LARGE if level > 12 else 0))
                return
            entry = int.from_bytes(self.memory.read(at, self.size), "little")
            if not entry & PRESENT:
                entry = self.memory.page() | PRESENT | 0x66  # dirty, accessed, user, writable
                self._put(at, entry)
            table = entry & 0x000F_FFFF_FFFF_F000

    def _put(self, at: int, entry: int) -> None:
        if self.size == 8 and self.mode is not Mode.PAE:
            entry |= NX
        self.memory.store(at, entry.to_bytes(self.size, "little"))

    @property
    def space(self) -> AddressSpace:
        return AddressSpace(self.memory, self.mode, self.root | 0x18)

    def load(self, linear: int, data: bytes) -> None:
        """Map fresh pages at `linear` and fill them."""
        start = linear & ~0xFFF
        data = bytes(linear - start) + data
        for offset in range(0, len(data), PAGE):
            page = self.memory.page()
            self.map(start + offset, page)
            self.memory.store(page, data[offset : offset + PAGE])


# --- page walks ------------------------------------------------------------------------------

SHIFTS = {Mode.LEGACY: 22, Mode.PAE: 21, Mode.LEVEL4: 21, Mode.LEVEL5: 21}
TOP = {Mode.LEGACY: 32, Mode.PAE: 32, Mode.LEVEL4: 47, Mode.LEVEL5: 56}


def with_tables(mode: Mode) -> Tables:
    return Tables(Memory(), mode)


@pytest.mark.parametrize("mode", SHIFTS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_walk_finds_what_was_mapped(mode: Mode, data: st.DataObject) -> None:
    tables = with_tables(mode)
    shift = SHIFTS[mode]
    regions = data.draw(
        st.lists(st.integers(0, (1 << TOP[mode]) - 1 >> shift), unique=True, max_size=6)
    )
    expected: dict[int, int] = {}
    for region in regions:
        large = data.draw(st.booleans())
        size = shift if large else 12
        linear = (region << shift) + (0 if large else data.draw(st.integers(0, 511)) << 12)
        if mode in (Mode.LEVEL4, Mode.LEVEL5) and data.draw(st.booleans()):
            linear |= (1 << 64) - (1 << TOP[mode])  # the upper half
        physical = data.draw(st.integers(1, 200)) << size & 0xFFFF_FFFF
        tables.map(linear, physical, size)
        offset = data.draw(st.integers(0, (1 << size) - 1))
        expected[linear + offset] = physical + offset
    for linear, physical in expected.items():
        assert tables.space.translate(linear) == physical


@pytest.mark.parametrize("mode", [Mode.LEVEL4, Mode.LEVEL5])
def test_gigabyte_page(mode: Mode) -> None:
    tables = with_tables(mode)
    tables.map(7 << 30, 3 << 30, 30)
    assert tables.space.translate((7 << 30) + 0x1234567) == (3 << 30) + 0x1234567


def test_pse36_gives_40_bits() -> None:
    tables = with_tables(Mode.LEGACY)
    tables._put(tables.root, 0x0040_0000 | 0x12 << 13 | LARGE | PRESENT)
    assert tables.space.translate(0x123) == 0x12_0040_0123


@pytest.mark.parametrize("mode", SHIFTS)
def test_not_mapped(mode: Mode) -> None:
    tables = with_tables(mode)
    tables.map(0x5000, 0x9000)
    space = tables.space
    assert space.translate(0x6000) is None
    assert space.translate(1 << 31) is None
    assert space.translate(1 << 60) is None  # not canonical
    assert space.read(0x6000, 4) == b""
    assert space.read_u64(0x6000) is None


def test_tables_outside_of_the_image() -> None:
    memory = Memory(PAGE * 4)
    assert AddressSpace(memory, Mode.LEVEL4, 1 << 40).translate(0) is None


def test_a_read_ends_at_the_first_page_that_is_not_mapped() -> None:
    tables = with_tables(Mode.LEVEL4)
    tables.load(0x4000, b"a" * PAGE + b"b" * PAGE)
    assert tables.space.read(0x4FFE, 4) == b"aabb"
    assert tables.space.read(0x5FFE, 4) == b"bb"


def test_no_paging_is_identity() -> None:
    memory = Memory()
    memory.store(0x1234, b"hello")
    assert AddressSpace(memory, Mode.NONE).read(0x1234, 5) == b"hello"


# --- finding the mode of code ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "linear", "bits"),
    [
        (Mode.LEVEL4, KERNEL + 0x123, 64),
        (Mode.LEVEL4, 0x401000, 64),
        (Mode.LEVEL5, 1 << 50, 64),
        (Mode.PAE, 0xC010_0000, 32),
        (Mode.LEGACY, 0xC010_0000, 32),
    ],
)
def test_mode_is_found_by_the_code(mode: Mode, linear: int, bits: int) -> None:
    tables = with_tables(mode)
    tables.load(linear, CODE)
    view = find_code(tables.memory, tables.root, linear, CODE, wide=False)
    assert view is not None
    assert (view.space.mode, view.bits, view.base) == (mode, bits, 0)


def test_protected_mode_without_paging() -> None:
    memory = Memory()
    memory.store(0x10_0000, CODE)
    view = find_code(memory, 0, 0x10_0000, CODE, wide=False)
    assert view is not None
    assert (view.space.mode, view.bits) == (Mode.NONE, 32)


def test_real_mode_by_the_segment() -> None:
    memory = Memory()
    memory.store(0x9_0230, CODE)
    view = find_code(memory, 0, 0x30, CODE, wide=False)
    assert view is not None
    assert (view.bits, view.base) == (16, 0x9_0200)
    memory.store(0x5_0030, CODE)  # a second place that fits: nothing is certain
    assert find_code(memory, 0, 0x30, CODE, wide=False) is None


def test_code_that_is_nowhere() -> None:
    memory = Memory()
    assert find_code(memory, PAGE, KERNEL, CODE, wide=True) is None
    assert find_code(memory, PAGE, 0x1000, b"", wide=False) is None


# --- tables of symbols -----------------------------------------------------------------------


def test_lookup() -> None:
    table = SymbolTable([(0x30, "c"), (0x10, "__a"), (0x10, "a"), (0x20, "b")], end=0x40)
    assert table.lookup(0x0F) is None
    assert table.lookup(0x10) == ("a", 0x10)
    assert table.lookup(0x1F) == ("a", 0x10)
    assert table.lookup(0x3F) == ("c", 0x30)
    assert table.lookup(0x40) is None
    assert table.named["__a"] == 0x10


def test_lookup_before_the_first_symbol_and_without_any() -> None:
    assert SymbolTable([(0x20, "b")], 0x10, 0x40).lookup(0x15) is None
    assert SymbolTable([], 0x10, 0x40).lookup(0x15) is None
    assert SymbolTable([]).lookup(0) is None


def test_symbols_outside_of_the_image_are_left_out() -> None:
    table = SymbolTable([(0x4, "per_cpu"), (0x10, "_text"), (0x40, "_end")], 0x10, 0x40)
    assert list(table.named) == ["_text"]


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elf")
    (folder / "guest.S").write_text(
        ".globl _start\n_start: nop\n nop\nlocal: ret\n.data\n.globl word\nword: .long 1\n"
    )
    path = folder / "guest.elf"
    subprocess.run(
        [
            *("gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"),
            *("-Wl,-Ttext=0x100000", "-o", str(path), str(folder / "guest.S")),
        ],
        check=True,
    )
    return path


def test_elf(elf: Path) -> None:
    pytest.importorskip("elftools")
    table = elf_symbols(elf)
    assert table.lookup(0x10_0001) == ("_start", 0x10_0000)
    assert table.lookup(0x10_0002) == ("local", 0x10_0002)
    shown = subprocess.run(["nm", str(elf)], capture_output=True, text=True, check=True).stdout
    for line in shown.splitlines():
        address, kind, name = line.split()
        if name in table.named:
            assert table.named[name] == int(address, 16), (kind, name)
    assert GuestNames.for_multiboot(elf).describe(0x10_0001) == "_start+0x1"
    assert GuestNames.for_multiboot(elf).describe(0x1000) == "outside the guest's image"


def test_elf_without_symbols_or_no_elf(elf: Path, tmp_path: Path) -> None:
    pytest.importorskip("elftools")
    stripped = tmp_path / "stripped.elf"
    subprocess.run(["strip", "-o", str(stripped), str(elf)], check=True)
    with pytest.raises(SymbolsUnavailable, match="no symbol table"):
        elf_symbols(stripped)
    garbage = tmp_path / "garbage"
    for content in (b"", b"\x7fELF", b"nothing of the kind", elf.read_bytes()[:200]):
        garbage.write_bytes(content)
        with pytest.raises(SymbolsUnavailable):
            elf_symbols(garbage)
    with pytest.raises(SymbolsUnavailable, match="No such file"):
        elf_symbols(tmp_path / "missing")


# --- the kernel's symbols --------------------------------------------------------------------

KALLSYMS = [
    (0x10, "per_cpu_thing"),
    (KERNEL, "_text"),
    (KERNEL + 0x1000, "start_kernel"),
    (KERNEL + 0x4000, "linux_banner"),
    (KERNEL + 0x5000, "modules"),
    (KERNEL + 0x8000, "_end"),
]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose symbols are recovered as KALLSYMS; each recovery adds a byte to `recoveries`."""
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path / "cache"))

    def recover(image: Path) -> list[tuple[int, str]]:
        with (tmp_path / "recoveries").open("ab") as file:
            file.write(b".")
        return KALLSYMS

    monkeypatch.setattr(symbols, "_recover", recover)
    image = tmp_path / "vmlinuz"
    image.write_bytes(b"kernel 1")
    return image


def recoveries(kernel: Path) -> int:
    return (kernel.parent / "recoveries").stat().st_size


def test_symbols_are_recovered_once(kernel: Path) -> None:
    for _ in range(3):
        table = kernel_symbols(kernel)
        assert table.lookup(KERNEL + 0x1008) == ("start_kernel", KERNEL + 0x1000)
        assert table.lookup(0x10) is None
    assert recoveries(kernel) == 1
    kernel.write_bytes(b"kernel 2")
    kernel_symbols(kernel)
    assert recoveries(kernel) == 2


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"", lambda data: b"x" * 9]
)
def test_damaged_cache_is_made_anew(kernel: Path, damage: object) -> None:
    assert callable(damage)
    kernel_symbols(kernel)
    (cached,) = (kernel.parent / "cache" / "symbols").iterdir()
    cached.write_bytes(damage(cached.read_bytes()))
    assert kernel_symbols(kernel).named["_text"] == KERNEL
    assert recoveries(kernel) == 2


def test_symbols_that_are_no_kernels(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "_recover", lambda image: [(1, "a")])
    with pytest.raises(SymbolsUnavailable, match="_text"):
        kernel_symbols(kernel)
    with pytest.raises(SymbolsUnavailable, match="No such file"):
        kernel_symbols(kernel.parent / "missing")


def test_recovery_fails_on_garbage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vmlinux_to_elf")
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path))
    image = tmp_path / "vmlinuz"
    image.write_bytes(b"no kernel at all" * 100)
    with pytest.raises(SymbolsUnavailable, match="found none in vmlinuz"):
        kernel_symbols(image)


def test_recovery_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    image = tmp_path / "vmlinuz"
    image.write_bytes(b"kernel")
    with pytest.raises(SymbolsUnavailable, match="vmlinux-to-elf is missing"):
        kernel_symbols(image)


# --- where the kernel is ---------------------------------------------------------------------


def booted(offset: int, banner: bytes = b"Linux version 6.1.0") -> Tables:
    tables = with_tables(Mode.LEVEL4)
    for page in range(8):
        content = banner if page == 4 else b"\xcc" * 16
        tables.load(KERNEL + offset + page * PAGE, content)
    return tables


def kernel_table() -> SymbolTable:
    return SymbolTable(KALLSYMS, KERNEL, KERNEL + 0x8000)


@pytest.mark.parametrize("offset", [0, 2 << 20, 0x1AC0_0000, 0x3E00_0000])
def test_kaslr_offset(offset: int) -> None:
    tables = booted(offset)
    found = find_kernel(tables.memory, tables.root | 5, kernel_table())
    assert found is not None
    assert found[1] == offset


def test_kernel_that_only_the_other_half_of_cr3_maps() -> None:
    """Page-table isolation: the user's tables are the page after the kernel's."""
    memory = Memory()
    memory.page()  # so that the tables begin at an even page
    tables = Tables(memory, Mode.LEVEL4)
    assert tables.root % (2 * PAGE) == 0
    memory.page()
    for page in range(8):
        tables.load(KERNEL + page * PAGE, b"Linux version " if page == 4 else b"")
    found = find_kernel(memory, tables.root + PAGE, kernel_table())
    assert found is not None
    assert found[1] == 0


@pytest.mark.parametrize(
    "memory_and_cr3", [(booted(0, b"Windows version"), None), (with_tables(Mode.LEVEL4), None)]
)
def test_no_kernel(memory_and_cr3: tuple[Tables, None]) -> None:
    tables, _ = memory_and_cr3
    assert find_kernel(tables.memory, tables.root, kernel_table()) is None
    assert find_kernel(tables.memory, 0, kernel_table()) is None
    assert find_kernel(tables.memory, tables.root, SymbolTable([(KERNEL, "_text")])) is None


# --- modules ---------------------------------------------------------------------------------


def add_module(
    tables: Tables, at: int, base: int, name: bytes, functions: dict[str, int], previous: int
) -> int:
    """Writes a struct module at `at` with its symbols behind it; returns its list entry."""
    names = b"\0" + b"".join(function.encode() + b"\0" for function in functions)
    entries = bytes(24)
    position = 1
    for function, value in functions.items():
        entries += struct.pack("<IBBHQQ", position, 2, 0, 1, base + value, 0)
        position += len(function) + 1
    content = bytearray(0x1000)
    struct.pack_into("<QQQ56s", content, 0, 0, previous, previous, name)
    struct.pack_into("<QI", content, 0x140, base, 0x3000)
    struct.pack_into("<Q", content, 0x200, at + 0x208)
    struct.pack_into("<QIxxxxQ", content, 0x208, at + 0x900, len(functions) + 1, at + 0xC00)
    content[0x900 : 0x900 + len(entries)] = entries
    content[0xC00 : 0xC00 + len(names)] = names
    tables.load(at, bytes(content))
    return at + 8


def with_modules() -> tuple[Tables, int]:
    tables = booted(0)
    head = KERNEL + 0x5000
    first = add_module(
        tables, MODULES + 0x10000, MODULES + 0x4000, b"crc", {"crc_init": 0x10}, head
    )
    second = add_module(
        tables,
        MODULES + 0x20000,
        MODULES + 0x8000,
        b"e1000",
        {"e1000_probe": 0, "e1000_reset": 0x800},
        first,
    )
    physical = tables.space.translate(head)
    assert physical is not None
    tables.memory.store(physical, struct.pack("<QQ", second, first))
    return tables, head


def test_module_and_its_symbol() -> None:
    tables, head = with_modules()
    module = find_module(tables.space, head, MODULES + 0x8888)
    assert module is not None
    assert module.name == "e1000"
    assert module.base == MODULES + 0x8000
    assert module.symbols is not None
    assert module.symbols.lookup(MODULES + 0x8888) == ("e1000_reset", MODULES + 0x8800)
    other = find_module(tables.space, head, MODULES + 0x4FFF)
    assert other is not None
    assert other.name == "crc"
    assert find_module(tables.space, head, MODULES + 0x80000) is None


def test_module_lists_that_lead_nowhere() -> None:
    tables, head = with_modules()
    physical = tables.space.translate(head)
    assert physical is not None
    for entry in (0, 0x1234, MODULES + 0x90000, 1 << 63):
        tables.memory.store(physical, struct.pack("<Q", entry))
        assert find_module(tables.space, head, MODULES + 0x8888) is None
    loop = MODULES + 0x20008  # an entry that points to itself
    tables.memory.store(physical, struct.pack("<Q", loop))
    there = tables.space.translate(loop)
    assert there is not None
    tables.memory.store(there, struct.pack("<Q", loop))
    assert find_module(tables.space, head, MODULES + 0x80000) is None


def test_names_of_a_linux(kernel: Path) -> None:
    tables, _ = with_modules()
    names = GuestNames.for_linux(kernel, tables.memory, tables.root)
    assert names.note == ""
    assert names.kernel_offset == 0
    assert names.describe(KERNEL + 0x1010) == "start_kernel+0x10"
    assert names.start(KERNEL + 0x1010) == KERNEL + 0x1000
    assert names.describe(MODULES + 0x8804) == "e1000_reset+0x4 [e1000]"
    assert names.start(MODULES + 0x8804) == MODULES + 0x8800
    assert names.describe(MODULES + 0x4004) == "0x4 [crc]"
    assert names.describe(MODULES + 0x70000) == "in a module or unmapped"
    assert names.describe(0xFFFF_8880_0000_0000) == "outside the kernel's image"
    assert "user space" in (names.describe(0x401000) or "")


def test_names_that_cannot_be_had(kernel: Path) -> None:
    assert "memory" in GuestNames.for_linux(kernel, None, 0).note
    tables = with_tables(Mode.LEVEL4)
    early = GuestNames.for_linux(kernel, tables.memory, tables.root)
    assert "not mapped" in early.note
    assert early.describe(KERNEL) is None
    assert early.start(KERNEL) is None
    missing = GuestNames.for_linux(kernel.parent / "missing", tables.memory, tables.root)
    assert "No such file" in missing.note


def test_import_of_symbols_needs_no_optional_package() -> None:
    program = "import sys; sys.modules['elftools'] = None; import lvmm.divergence"
    tools = Path(symbols.__file__).parents[1]
    subprocess.run([sys.executable, "-c", program], cwd=tools, check=True)
