"""Files of symbols, read by pyelftools and by gdb."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gdb_batch import gdb_words

from lvmm.symbol_file import Part, write_symbol_file

KERNEL = 0xFFFFFFFF85200000
MODULE = 0xFFFFFFFFC0400000
PARTS = (
    Part("kernel", KERNEL, KERNEL + 0x3000, [(KERNEL, "_text"), (KERNEL + 0x1234, "do_it")]),
    Part("driver", MODULE, MODULE + 0x2000, [(MODULE + 8, "driver_poll"), (MODULE, "driver_init")]),
)


def read(path: Path) -> dict[str, tuple[int, int, str]]:
    """Address, size and section by name."""
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        return {
            symbol.name: (
                symbol["st_value"],
                symbol["st_size"],
                elf.get_section(symbol["st_shndx"]).name,
            )
            for symbol in table.iter_symbols()
            if symbol.name
        }


def test_symbols_have_address_size_and_section(tmp_path: Path) -> None:
    assert write_symbol_file(tmp_path / "symbols.elf", PARTS) == 4
    assert read(tmp_path / "symbols.elf") == {
        "_text": (KERNEL, 0x1234, "kernel"),
        "do_it": (KERNEL + 0x1234, 0x3000 - 0x1234, "kernel"),
        "driver_init": (MODULE, 8, "driver"),
        "driver_poll": (MODULE + 8, 0x2000 - 8, "driver"),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["symbols.elf"]


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(min_size=1).filter(lambda t: "\0" not in t), st.integers(0, 4095)))
def test_any_names(tmp_path_factory: pytest.TempPathFactory, named: dict[str, int]) -> None:
    try:
        "".join(named).encode()
    except UnicodeEncodeError:
        return
    path = tmp_path_factory.mktemp("names") / "symbols.elf"
    symbols = [(KERNEL + offset, name) for name, offset in named.items()]
    assert write_symbol_file(path, [Part("all", KERNEL, KERNEL + 4096, symbols)]) == len(named)
    assert {name: at for name, (at, _, _) in read(path).items()} == {
        name: address for address, name in symbols
    }


@pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")
def test_gdb_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "symbols.elf"
    write_symbol_file(path, PARTS)
    questions = ("info symbol driver_poll + 3", "info address do_it", "info line do_it")
    command = gdb_words(f"symbol-file {path}", *questions)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "driver_poll + 3 in section driver" in said
    assert f'"do_it" is at {KERNEL + 0x1234:#x}' in said
