"""What queries mean: their text, the places that they name, and types from BTF and DWARF."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from lvmm.errors import UsageError
from lvmm.queries.btf_types import KernelTypes
from lvmm.queries.data_types import DataType, Form, NoTypes, Types
from lvmm.queries.dwarf_types import program_types
from lvmm.queries.places import Range, UnknownName, check_place, resolve
from lvmm.queries.query import LENGTH_MAX, Kind, Query, parse_query
from lvmm.vmcore.btf import Btf

SOURCE = """
typedef unsigned int u32;
enum state { IDLE, BUSY };
struct ring { u32 head; struct { volatile u32 tail; union { short low; int whole; }; }; };
struct adapter { const char *name; struct ring rings[4]; enum state state; void *next; };
struct adapter card;
u32 grid[2][3];
long transmit(struct adapter *a, const char *what, int count, unsigned char flags);
long transmit(struct adapter *a, const char *what, int count, unsigned char flags)
{
    return a->rings[0].head + what[0] + count + flags;
}
int many(int first, ...);
int many(int first, ...) { return first; }
"""
SYMBOLS = {"card": 0x1000, "grid": 0x2000, "transmit": 0x3000, "handle.cold": 0x4000}


@pytest.fixture(scope="module", params=["btf", "dwarf"])
def types(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Types:
    folder = tmp_path_factory.mktemp("types")
    source, compiled = folder / "types.c", folder / "types.o"
    source.write_text(SOURCE)
    flag = "-gbtf" if request.param == "btf" else "-g"
    subprocess.run(["gcc", flag, "-c", str(source), "-o", str(compiled)], check=True)
    if request.param == "dwarf":
        return program_types(compiled)
    with compiled.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF")
        assert section is not None
        return KernelTypes(Btf(section.data()))


@pytest.mark.parametrize(
    ("place", "length", "expected"),
    [
        ("card", None, Range(0x1000, 72)),
        ("card", 4, Range(0x1000, 4)),
        ("card+0x10", None, Range(0x1010, 8)),
        ("card.rings", None, Range(0x1008, 48)),
        ("card.rings[2].head", None, Range(0x1020, 4)),
        ("card.rings[1].tail", None, Range(0x1018, 4)),
        ("card.rings[1].low", None, Range(0x101C, 2)),
        ("card.state", None, Range(0x1038, 4)),
        ("card.next+1", 1, Range(0x1041, 1)),
        ("adapter@0x5000.next", None, Range(0x5040, 8)),
        ("ring@0x5000", None, Range(0x5000, 12)),
        ("handle.cold", None, Range(0x4000, 8)),
        ("0xffff888000000000", 16, Range(0xFFFF888000000000, 16)),
        ("4096+8", None, Range(4104, 8)),
    ],
)
def test_places(types: Types, place: str, length: int | None, expected: Range) -> None:
    assert resolve(place, length, SYMBOLS.get, types) == expected


def test_rows_of_an_array(types: Types) -> None:
    if isinstance(types, KernelTypes):
        pytest.skip("GCC 12 writes the dimensions into BTF in the wrong order")
    assert resolve("grid[1]", None, SYMBOLS.get, types) == Range(0x200C, 12)
    assert resolve("grid[1][2]", None, SYMBOLS.get, types) == Range(0x2014, 4)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("card.rigns", "no field rigns .there are rings"),
        ("card.state.x", "enum state has no field x|state has no field x"),
        ("card[1]", "is no array"),
        ("nothing@0x1000.x", "no structure nothing"),
        ("0x1000.x", "the type is not known"),
        ("transmit.x", "the type is not known"),
    ],
)
def test_places_that_are_not_there(types: Types, place: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(place, None, SYMBOLS.get, types)


def test_unknown_names(types: Types) -> None:
    with pytest.raises(UnknownName, match=r"^cards$"):
        resolve("cards.rings[1].head", None, SYMBOLS.get, types)


def test_parameters(types: Types) -> None:
    found = types.parameters("transmit")
    assert found is not None
    assert [parameter.name for parameter in found] == ["a", "what", "count", "flags"]
    forms = [parameter.type.form for parameter in found]
    assert forms == [Form.POINTER, Form.TEXT, Form.SIGNED, Form.UNSIGNED]
    assert [parameter.type.size for parameter in found] == [8, 8, 4, 1]
    few = types.parameters("many")
    assert few is not None
    assert [parameter.name for parameter in few] == ["first"]
    assert types.parameters("nobody") is None


def test_a_program_without_types(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for types in (program_types(tmp_path / "text"), program_types(tmp_path / "none"), NoTypes()):
        assert resolve("card", None, SYMBOLS.get, types) == Range(0x1000, 8)
        assert types.parameters("transmit") is None
        with pytest.raises(UsageError, match=r"SYMBOL\+OFFSET"):
            resolve("card.state", None, SYMBOLS.get, types)


def test_a_structure_is_read_when_it_is_asked_for() -> None:
    """So that one that points to itself has an end."""
    node = DataType("node", 8, members=lambda: {"next": (0, node)})
    assert node.members()["next"][1].members()["next"][0] == 0


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("write 0x1000 4", Query("write 0x1000 4", Kind.WRITE, "0x1000", 4)),
        ("change card.state", Query("change card.state", Kind.CHANGE, "card.state")),
        ("  call  vfs_write ", Query("  call  vfs_write ", Kind.CALL, "vfs_write")),
        ("running 48211", Query("running 48211", Kind.RUNNING, event=48211)),
    ],
)
def test_queries(text: str, query: Query) -> None:
    assert parse_query(text) == query


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no query"),
        ("read 0x1000", "is no query"),
        ("write", "too few or too many words"),
        ("write 0x1000 4 5", "too few or too many words"),
        ("call main 3", "too few or too many words"),
        ("write 0x1000 four", "'four' is not a length"),
        ("write 0x1000 0", "length must be from 1"),
        (f"write 0x1000 {LENGTH_MAX + 1}", "length must be from 1"),
        ("running soon", "'soon' is not the index of an event"),
    ],
)
def test_what_is_no_query(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_query(text)


@pytest.mark.parametrize("place", ["+4", "a+", "a..b", "a-4", "@0x10", "a[x]", "0x"])
def test_what_is_no_place(place: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        check_place(place)
