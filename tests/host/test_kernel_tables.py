"""The tables that a Linux kernel has in its memory: kallsyms, ORC and BTF."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from tests.host.core_machine import PML4, mapped_memory

from lvmm.guest_view import AddressSpace, Mode
from lvmm.symbol_file import Part, write_symbol_file
from lvmm.vmcore.btf import Btf, BtfError, BtfKind
from lvmm.vmcore.kallsyms import read_kallsyms
from lvmm.vmcore.orc import FrameWriter, OrcTable, new_types, read_orc
from lvmm.vmcore.vmcoreinfo import VmcoreInfo

pytestmark = pytest.mark.host

TABLES = 0x300000  # where the tests put tables; mapped at the same linear address
BASE = 0xFFFFFFFF81000000
TEXT = 0xFFFFFFFF81000100

# ---- kallsyms

PLACES = {
    "num_syms": TABLES,
    "relative_base": TABLES + 8,
    "token_index": TABLES + 0x100,
    "token_table": TABLES + 0x1000,
    "offsets": TABLES + 0x4000,
    "names": TABLES + 0x10000,
}
INFO = VmcoreInfo(
    "".join(f"SYMBOL(kallsyms_{name})={at:x}\n" for name, at in PLACES.items()).encode()
)


def kallsyms_memory(symbols: list[tuple[int, str]], tokens: dict[int, str]) -> AddressSpace:
    """Memory with a table: each name is coded by `tokens`, and by single characters else."""
    texts = [tokens.get(code, chr(code) if 32 < code < 127 else "") for code in range(256)]
    table = bytearray()
    index = bytearray()
    for text in texts:
        index += struct.pack("<H", len(table))
        table += text.encode() + b"\0"
    names = bytearray()
    offsets = bytearray()
    for address, name in symbols:
        code = bytearray(b"T")
        rest = name
        while rest:
            token = next((c for c, text in tokens.items() if rest.startswith(text)), ord(rest[0]))
            code.append(token)
            rest = rest[len(texts[token]) :]
        size = len(code)
        names += bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        names += code
        offsets += struct.pack("<i", address if address < 1 << 31 else BASE - 1 - address)
    memory = mapped_memory()
    memory.write(PLACES["num_syms"], struct.pack("<I", len(symbols)))
    memory.write(PLACES["relative_base"], struct.pack("<Q", BASE))
    memory.write(PLACES["token_index"], bytes(index))
    memory.write(PLACES["token_table"], bytes(table))
    memory.write(PLACES["offsets"], bytes(offsets))
    memory.write(PLACES["names"], bytes(names))
    return AddressSpace(memory, Mode.LEVEL4, PML4)


SYMBOLS = [
    (0x1F0C0, "runqueues"),
    (BASE, "_text"),
    (BASE + 0x100, "sys_call_table"),
    (BASE + 0x2000, "a" * 150),
]


def test_kallsyms_are_read_with_tokens_and_per_cpu_offsets() -> None:
    found = read_kallsyms(kallsyms_memory(SYMBOLS, {1: "sys_", 2: "table", 3: "aaaa"}), INFO)
    assert found is not None
    assert found.symbols == SYMBOLS
    assert found.named()["sys_call_table"] == BASE + 0x100


def test_kallsyms_that_are_damaged_or_not_named_are_none() -> None:
    space = kallsyms_memory(SYMBOLS, {})
    assert read_kallsyms(space, VmcoreInfo(b"OSRELEASE=5.10\n")) is None
    space.memory.write(PLACES["num_syms"], struct.pack("<I", 1 << 31))  # type: ignore[attr-defined]
    assert read_kallsyms(space, INFO) is None


# ---- ORC

CALL, REGS, PARTIAL = range(3)
UNDEFINED, PREV_SP, BP, SP, BP_INDIRECT, SP_INDIRECT = 0, 1, 4, 5, 8, 9
END = 1 << 11


def word(sp: int, bp: int = UNDEFINED, kind: int = CALL) -> int:
    return sp | bp << 4 | kind << 8


def rows_of(path: Path, content: bytes) -> list[dict[Any, Any]]:
    """What pyelftools makes of the frames, a row an address."""
    write_symbol_file(path, [Part("kernel", TEXT, TEXT + 0x1000, [(TEXT, "f")])], content)
    with path.open("rb") as file:
        info = ELFFile(file).get_dwarf_info(relocate_dwarf_sections=False)
        entries = [entry for entry in info.CFI_entries() if isinstance(entry, FDE)]
        return [row for entry in entries for row in entry.get_decoded().table]


def offset(row: dict[Any, Any], register: int) -> int | None:
    rule = row.get(register)
    return rule.arg if rule is not None and rule.type == "OFFSET" else None


def test_orc_becomes_frames(tmp_path: Path) -> None:
    table = OrcTable(
        [TEXT, TEXT + 1, TEXT + 0x200, TEXT + 0x210],
        [
            (8, 0, word(SP)),
            (16, -16, word(SP, PREV_SP)),
            (0, 0, word(SP, kind=REGS)),
            (0, 0, word(UNDEFINED) | END),
        ],
    )
    frames = FrameWriter(new=False)
    frames.add(table, [(TEXT, TEXT + 0x300)])
    first, pushed, regs, last = rows_of(tmp_path / "frames", frames.content)
    assert [row["pc"] for row in (first, pushed, regs, last)] == table.addresses
    assert (first["cfa"].reg, first["cfa"].offset) == (7, 8)
    assert (offset(first, 16), offset(first, 6)) == (-8, None)
    assert first[7].type == "VAL_OFFSET"
    assert first[3].type == "UNDEFINED", "ORC does not follow RBX"
    assert (pushed["cfa"].offset, offset(pushed, 6)) == (16, -16)
    assert (offset(regs, 16), offset(regs, 7), offset(regs, 3)) == (128, 152, 40)
    assert last[16].type == "UNDEFINED", "the outermost frame"


def test_orc_of_indirect_stack_pointers(tmp_path: Path) -> None:
    table = OrcTable(
        [TEXT, TEXT + 4, TEXT + 8],
        [(-8, 0, word(BP_INDIRECT)), (8, 0, word(SP_INDIRECT)), (0, 0, word(SP, kind=PARTIAL))],
    )
    frames = FrameWriter(new=False)
    frames.add(table, [(TEXT, TEXT + 0x10)])
    by_bp, by_sp, partial = rows_of(tmp_path / "frames", frames.content)
    assert bytes(by_bp["cfa"].expr) == b"\x76\x78\x06"  # breg6 -8, deref
    assert bytes(by_sp["cfa"].expr) == b"\x77\x00\x06\x11\x08\x22"  # breg7 0, deref, consts 8, plus
    assert (offset(partial, 16), offset(partial, 7), offset(partial, 3)) == (0, 24, None)


def test_each_function_has_its_own_rows(tmp_path: Path) -> None:
    """The entry before a function's start holds at its start."""
    table = OrcTable([TEXT, TEXT + 0x20], [(8, 0, word(SP)), (24, 0, word(SP))])
    frames = FrameWriter(new=False)
    frames.add(table, [(TEXT, TEXT + 0x10), (TEXT + 0x10, TEXT + 0x40)])
    rows = rows_of(tmp_path / "frames", frames.content)
    assert [(row["pc"] - TEXT, row["cfa"].offset) for row in rows] == [
        (0, 8),
        (0x10, 8),
        (0x20, 24),
    ]


def test_types_of_frames_changed_in_linux_6_4(tmp_path: Path) -> None:
    assert [new_types(release) for release in ("6.1.0-56-amd64", "6.4.0", "7.0", "5.10", "")] == [
        *(False, True, True, False, False)
    ]
    table = OrcTable([TEXT, TEXT + 4], [(8, 0, word(SP, kind=2)), (0, 0, word(SP, kind=1))])
    frames = FrameWriter(new=True)
    frames.add(table, [(TEXT, TEXT + 8)])
    call, end_of_stack = rows_of(tmp_path / "frames", frames.content)
    assert offset(call, 16) == -8
    assert end_of_stack[16].type == "UNDEFINED"


def test_orc_is_read_from_memory_and_refused_when_damaged() -> None:
    memory = mapped_memory()
    space = AddressSpace(memory, Mode.LEVEL4, PML4)
    ips, entries = TABLES, TABLES + 0x1000
    for index, address in enumerate((TABLES + 0x2000, TABLES + 0x2010)):
        memory.write(ips + 4 * index, struct.pack("<i", address - ips - 4 * index))
        memory.write(entries + 6 * index, struct.pack("<hhH", 8 * index, 0, word(SP)))
    table = read_orc(space, ips, entries, 2)
    assert table is not None
    assert table.addresses == [TABLES + 0x2000, TABLES + 0x2010]
    assert table.entries[1] == (8, 0, word(SP))
    memory.write(ips, struct.pack("<i", 1 << 20))
    assert read_orc(space, ips, entries, 2) is None, "not ascending"
    assert read_orc(space, 0x7000_0000_0000, entries, 2) is None, "not mapped"


@given(
    st.lists(
        st.tuples(st.integers(-32768, 32767), st.integers(-32768, 32767), st.integers(0, 65535))
    )
)
def test_any_orc_entries(entries: list[tuple[int, int, int]]) -> None:
    for new in (False, True):
        frames = FrameWriter(new=new)
        frames.add(OrcTable([TEXT + n for n in range(len(entries))], entries), [(TEXT, TEXT + 99)])
        assert len(frames.content) % 4 == 0


# ---- BTF

SOURCE = """
struct list { struct list *next, *prev; };
enum colour { RED, GREEN = 7 };
enum sign { MINUS = -3, PLUS = 3 };
typedef unsigned long size;
union either { int number; char text[12]; };
struct task {
    volatile long state;
    char comm[16];
    unsigned on : 1, flags : 5;
    _Bool ready;
    const struct list *list;
    union either either;
    struct { short inside; };
    enum colour colour;
    enum sign sign;
    size bytes;
    int (*call)(struct task *, const char *, ...);
    void *anything;
};
struct task one;
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The BTF that the compiler makes of SOURCE."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    folder = tmp_path_factory.mktemp("btf")
    (folder / "types.c").write_text(SOURCE)
    command = ["gcc", "-gbtf", "-c", str(folder / "types.c"), "-o", str(folder / "types.o")]
    subprocess.run(command, check=True)
    with (folder / "types.o").open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF")
        assert section is not None
        return bytes(section.data())


def test_btf_of_the_compiler_is_read(compiled: bytes) -> None:
    btf = Btf(compiled)
    items = [btf.get(number) for number in range(1, len(btf) + 1)]
    task = next(item for item in items if item.name == "task")
    assert task.kind is BtfKind.STRUCT
    names = [btf.text(entry[0]) for entry in btf.words(task)]
    assert names[:4] == ["state", "comm", "on", "flags"]


@given(st.integers(0, 400), st.binary(max_size=8))
def test_damaged_btf_is_refused(compiled: bytes, at: int, patch: bytes) -> None:
    """Whatever is patched, types are read or refused; the index is never beyond the data."""
    data = bytearray(compiled)
    data[at : at + len(patch)] = patch
    for damaged in (bytes(data), bytes(data[: at + 24])):
        try:
            btf = Btf(damaged)
            for number in range(1, len(btf) + 1):
                btf.words(btf.get(number))
        except BtfError:
            pass


def with_signed_enum(data: bytes, name: str) -> bytes:
    """The kernel's BTF has a flag at enumerations with negative values, GCC 12's has none yet."""
    btf = Btf(data)
    found = next(n for n in range(1, len(btf) + 1) if btf.get(n).name == name)
    patched = bytearray(data)
    patched[btf.get(found).tail - 5] |= 0x80
    return bytes(patched)


def test_drgn_has_the_compilers_types(compiled: bytes) -> None:
    """Sizes, offsets, bit fields and values are those that the C compiler gives them."""
    drgn = pytest.importorskip("drgn")
    from lvmm.vmcore.drgn_types import BtfTypes

    prog = drgn.Program(drgn.host_platform)
    memory = struct.pack("<q16sI", -5, b"init", 0b10110_1 | 1 << 8).ljust(4096, b"\1")
    prog.add_memory_segment(0x1000, len(memory), lambda _, count, at, __: memory[at : at + count])
    btf = Btf(with_signed_enum(compiled, "sign"))
    BtfTypes(prog, btf, lambda name: 0x1000 if name == "one" else None).register()
    task = prog.type("struct task")
    offsets = {member.name: member.bit_offset // 8 for member in task.members if member.name}
    assert list(offsets.items()) == [
        *(("state", 0), ("comm", 8), ("on", 24), ("flags", 24), ("ready", 25), ("list", 32)),
        *(("either", 40), ("colour", 56), ("sign", 60), ("bytes", 64), ("call", 72)),
        ("anything", 80),
    ]
    assert drgn.sizeof(task) == 88
    one = drgn.Object(prog, task, address=0x1000)
    assert one.state.value_() == -5
    assert one.comm.string_() == b"init"
    assert (one.on.value_(), one.flags.value_()) == (1, 0b10110)
    assert one.state.type_.qualifiers == drgn.Qualifiers.VOLATILE
    assert str(one.list.type_) == "const struct list *"
    assert str(one.call.type_) == "int (*)(struct task *, const char *, ...)"
    assert prog["GREEN"].value_() == 7
    assert prog["MINUS"].value_() == -3
    assert drgn.offsetof(task, "inside") == 52
    assert drgn.sizeof(prog.type("union either")) == 12
    assert str(prog.type("size").type) == "unsigned long"
    with pytest.raises(LookupError):
        prog.type("struct nothing")
