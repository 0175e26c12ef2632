"""The description of the log, and what is generated from it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.host import cbuild

from lvmm.logs import layout, wire

pytestmark = pytest.mark.host

GENERATOR = cbuild.ROOT / "logs_format" / "generate.py"
LAYOUT = cbuild.ROOT / "tools" / "lvmm" / "logs" / "layout.py"


def test_the_python_layouts_are_up_to_date(tmp_path: Path) -> None:
    output = tmp_path / "layout.py"
    subprocess.run([sys.executable, str(GENERATOR), "--python", str(output)], check=True)
    assert output.read_text() == LAYOUT.read_text(), (
        "run: python3 logs_format/generate.py --python tools/lvmm/logs/layout.py"
    )


def test_the_header_compiles_for_the_monitor(tmp_path: Path) -> None:
    source = tmp_path / "all.c"
    headers = ("log_region", "log_writer", "log_reader")
    source.write_text("".join(f'#include "replay/{name}.h"\n' for name in headers))
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffreestanding"]
    command += ["-mgeneral-regs-only", "-mno-red-zone", "-O2", "-c", str(source), "-o"]
    command += [str(tmp_path / "all.o"), "-I", str(cbuild.ROOT / "hypervisor")]
    subprocess.run([*command, "-I", str(cbuild.log_format_header())], check=True)


def test_a_wrong_output_is_one_clear_line(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(GENERATOR), "--python", str(tmp_path / "none" / "layout.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("generate.py: ")
    assert len(result.stderr.splitlines()) == 1


def test_every_event_fits_its_limit() -> None:
    fields = 3 * wire.UVARINT_MAX
    position = 2 * wire.UVARINT_MAX + 2
    registers = 3 + 17 * wire.UVARINT_MAX
    assert 1 + position + registers + fields <= layout.EVENT_OVERHEAD_MAX
    assert wire.DATA_MAX == layout.EVENT_DATA_MAX
    assert layout.EVENT_DATA_MAX + layout.EVENT_OVERHEAD_MAX == layout.CHUNK_PAYLOAD_MAX


def test_fixed_layouts_survive() -> None:
    segment = layout.Segment(1, 2, 3, 4, 0)
    blank = layout.FinalState.unpack(bytes(424))
    state = replace(blank, gpr=tuple(range(16)), rip=100, dr7=108, idtr_limit=1)
    state = replace(state, segments=(segment,) * 8)
    packed = state.pack()
    assert len(packed) == 424
    assert layout.FinalState.unpack(packed) == state
    assert layout.FinalState.unpack(b"xxx" + packed, 3) == state
