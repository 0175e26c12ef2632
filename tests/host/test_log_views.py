"""extract_log.py's dump and stats, and the two decoders that count against each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host import extract_tool
from tests.host.extract_tool import (
    COMPLETE,
    EVENTS,
    MIB,
    TOOL,
    USAGE,
    Tool,
    image_with,
    log_of,
    one_line,
    region_of,
    write,
)
from tests.host.log_cases import python_log, written_events
from tests.host.log_driver import HEADER, Written
from tests.host.test_log_fuzz import mutated, with_valid_crcs

from lvmm.logs import Recording, layout, native
from lvmm.logs.codec import Event
from lvmm.logs.counts import Statistics
from lvmm.logs.header import RecordingHeader
from lvmm.logs.statistics import PythonCounter, count, fast_counter
from lvmm.logs.writer import LogWriter

pytestmark = pytest.mark.host

tool = extract_tool.tool


def stream(number: int, content: layout.StreamContent) -> layout.DmaStream:
    blank = layout.DmaStream.unpack(bytes(layout.DmaStream.STRUCT.size))
    return replace(
        blank,
        profile=tuple(b"e1000".ljust(16, b"\0")),
        ring=tuple(b"rx".ljust(16, b"\0")),
        stream=number,
        content=content,
    )


def device_log(path: Path) -> Path:
    """Reads of several devices, DMA of a known stream and of an unknown one."""
    header = RecordingHeader(HEADER.machine, dma_streams=[stream(1, layout.StreamContent.PAYLOAD)])
    log = LogWriter(5, header)
    payloads: list[layout.Payload] = [
        layout.In(0x3F8, 1, 65),
        layout.In(0x3FD, 1, 96),
        layout.In(0xC010, 4, 7),
        layout.In(0xC018, 4, 7),
        layout.MmioRead(0xFEE00390, 4, 1000),
        layout.MmioRead(0xFEBC0008, 4, 3),
        layout.MmioRead(0xFEBC1010, 4, 3),
        layout.Rdmsr(0x1B, 0, 0xFEE00900),
        layout.Dma(1, 0x10000, b"frame" * 20),
        layout.Sent(1, 3, 5, b"hello"),
        layout.Dma(9, 0x20000, b"x" * 10),
    ]
    for index, payload in enumerate(payloads):
        log.write(Event(payload, 100 * index, 0x1000 + 16 * index, check=0))
        if index % 4 == 3:
            log.flush()
    log.flush()
    return write(path, bytes(log.data))


def dumped(tool: Tool, *arguments: object) -> list[int]:
    """The indices of the events that dump shows."""
    code, out, _ = tool("dump", *map(str, arguments), "--json")
    assert code == COMPLETE
    return [json.loads(line)["index"] for line in out.splitlines()]


def test_dump(tool: Tool, tmp_path: Path) -> None:
    log = write(tmp_path / "log.lvmm", bytes(log_of().data))
    code, out, _ = tool("dump", log)
    assert code == COMPLETE
    assert len(out.splitlines()) == len(EVENTS)
    assert "value=0x60" in out.splitlines()[1]
    events = [json.loads(line) for line in tool("dump", log, "--json")[1].splitlines()]
    assert [event["kind"] for event in events[:4]] == ["RDTSC", "IN", "INTERRUPT", "DMA"]
    assert events[2]["async"] and events[2]["registers"]["rax"] == "0x2"
    assert events[3]["data"] == "03" * 64 and events[3]["same_position"]
    assert events[-1]["reason"] == "power_off" and events[-1]["state"]["rip"] == "0x0"
    out = tool("dump", log, "--type", "dma,in", "--last", "3", "--json")[1]
    assert [json.loads(line)["index"] for line in out.splitlines()] == [25, 27, 29]
    out = tool("dump", log, "--events", "4-6", "--json")[1]
    assert [json.loads(line)["index"] for line in out.splitlines()] == [4, 5, 6]
    out = tool("dump", log, "--events", "29-", "--json")[1]
    assert [json.loads(line)["index"] for line in out.splitlines()] == [29, 30]


def test_dump_of_a_device(tool: Tool, tmp_path: Path) -> None:
    log = device_log(tmp_path / "log.lvmm")
    assert dumped(tool, log, "--device", "com1") == [0, 1]
    assert dumped(tool, log, "--device", "lapic") == [4, 7]
    assert dumped(tool, log, "--device", "e1000") == [8, 9]
    assert dumped(tool, log, "--device", "port:0xc010-0xc017") == [2]
    assert dumped(tool, log, "--device", "mmio:0xfebc1010") == [6]
    assert dumped(tool, log, "--device", "msr:27") == [7]
    msr = json.loads(tool("dump", log, "--events", "7", "--json")[1])
    assert msr["index"] == 7 and msr["rdmsr_index"] == "0x1b"
    assert dumped(tool, log, "--device", "dma:9") == [10]
    assert dumped(tool, log, "--device", "e1000", "--type", "sent") == [9]
    for wrong in ("e1001", "port:x", "port:1-", "usb:1", ""):
        assert one_line(tool("dump", log, "--device", wrong)) == USAGE
    assert "e1000" in tool("dump", log, "--device", "nothing")[2]


def test_dump_of_a_guest_time(tool: Tool, tmp_path: Path) -> None:
    log = device_log(tmp_path / "log.lvmm")
    everything = range(11)
    for start in range(0, 1200, 150):
        for end in range(start, 1200, 150):
            wanted = [index for index in everything if start <= 100 * index <= end]
            assert dumped(tool, log, "--from", start, "--to", end) == wanted
        late = [index for index in everything if 100 * index >= start]
        assert dumped(tool, log, "--from", start, "--last", 3) == late[-3:]
        assert (
            dumped(tool, log, "--to", start, "--last", 2)
            == [index for index in everything if 100 * index <= start][-2:]
        )
    assert dumped(tool, log, "--from", 300, "--to", 900, "--events", "2-5", "--last", "2") == [4, 5]


def test_the_last_events_need_no_others(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(tmp_path / "log.lvmm", bytes(log_of(flush_every=5).data))
    decoded: list[int] = []
    decode = Recording.events.__globals__["decode_chunk"]

    def noted(header: layout.ChunkHeader, *rest: object) -> object:
        decoded.append(header.seq)
        return decode(header, *rest)

    monkeypatch.setitem(Recording.events.__globals__, "decode_chunk", noted)
    assert dumped(tool, log, "--last", 6) == list(range(len(EVENTS) - 6, len(EVENTS)))
    assert decoded == [6, 7]


# ---- stats ----------------------------------------------------------------------------------


def test_stats(tool: Tool, tmp_path: Path) -> None:
    log = write(tmp_path / "log.lvmm", bytes(log_of().data))
    facts = json.loads(tool("stats", log, "--json")[1])
    kinds = {kind["name"]: kind for kind in facts["kinds"]}
    counts = {name: kind["events"] for name, kind in kinds.items()}
    assert counts == {"RDTSC": 8, "IN": 8, "INTERRUPT": 7, "DMA": 7, "END": 1}
    assert {name for name, kind in kinds.items() if kind["exits"]} == {"RDTSC", "IN", "END"}
    assert facts["events"] == len(EVENTS)
    assert facts["dma_bytes"] == 7 * 64
    assert facts["log_bytes"] == log.stat().st_size
    with Recording.open(log) as recording:
        sizes = [(event.name, event.size) for event in recording.events()]
    assert {name: kind["bytes"] for name, kind in kinds.items()} == {
        name: sum(size for other, size in sizes if other == name) for name in kinds
    }
    assert "INTERRUPT" in tool("stats", log)[1]


def test_stats_by_device(tool: Tool, tmp_path: Path) -> None:
    facts = json.loads(tool("stats", device_log(tmp_path / "log.lvmm"), "--json")[1])
    found = {(d["name"], d["space"]): (d["events"], d["data"]) for d in facts["devices"]}
    assert found == {
        ("com1", "port"): (2, 0),
        ("port:0xc010-0xc018", "port"): (2, 0),
        ("lapic", "mmio"): (1, 0),
        ("mmio:0xfebc0008-0xfebc1010", "mmio"): (2, 0),
        ("lapic", "msr"): (1, 0),
        ("e1000 rx payload", "dma:1"): (1, 100),
        ("stream 9", "dma:9"): (1, 10),
    }
    top = json.loads(tool("stats", tmp_path / "log.lvmm", "--json", "--top", "2")[1])
    assert top["devices"] == facts["devices"][:2]
    assert top["code"] == facts["code"][:2] and top["code_addresses"] == 8


def test_stats_with_symbols(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "guest.s").write_text(".globl first, second\nfirst: .zero 64\nsecond: .zero 256\n")
    elf = tmp_path / "guest.elf"
    for words in (
        ("as", "--64", "-o", tmp_path / "guest.o", tmp_path / "guest.s"),
        ("ld", "-Ttext=0x1000", "-e", "first", "-o", elf, tmp_path / "guest.o"),
    ):
        subprocess.run(words, check=True, capture_output=True)
    log = device_log(tmp_path / "log.lvmm")
    facts = json.loads(tool("stats", log, "--json", "--symbols", elf)[1])
    named = {row["name"]: row["symbol"] for row in facts["code"]}
    assert named["0x1010"] == "first+0x10" and named["0x1040"] == "second+0x0"
    assert "second+0x10" in tool("stats", log, "--symbols", elf)[1]
    assert one_line(tool("stats", log, "--symbols", log)) == USAGE
    assert one_line(tool("stats", log, "--symbols", tmp_path / "none")) == USAGE


def test_stats_of_a_recording_has_the_monitors_exits(tool: Tool, tmp_path: Path) -> None:
    device_log(tmp_path / "log.lvmm")
    write(tmp_path / "recording.json", b'{"exits": {"HLT": 3, "RDTSC": 40}}')
    facts = json.loads(tool("stats", tmp_path, "--json")[1])
    assert facts["monitor_exits"] == {"RDTSC": 40, "HLT": 3}
    assert "HLT" in tool("stats", tmp_path)[1]
    write(tmp_path / "recording.json", b"[1]")
    assert "monitor_exits" not in json.loads(tool("stats", tmp_path, "--json")[1])


# ---- the two decoders -----------------------------------------------------------------------


def both(log: bytes, folder: Path, addresses_max: int = 1 << 18) -> list[Statistics]:
    """What Python and C count; they agree on what is damaged."""
    path = write(folder / "log.lvmm", log)
    results, losses = [], []
    for counter in (PythonCounter(addresses_max), fast_counter(addresses_max)):
        assert counter is not None, "the decoder in C was not built"
        with Recording.open(path) as recording:
            results.append(count(recording, counter))
            losses.append([(loss.offset, loss.events) for loss in recording.losses])
    assert losses[0] == losses[1]
    return results


@settings(max_examples=60)
@given(written_events(), st.integers(1, 20), st.integers(1, 50))
def test_both_decoders_count_alike(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[Written],
    flush_every: int,
    addresses_max: int,
) -> None:
    log = python_log(written, flush_every)
    python, c = both(log, tmp_path_factory.mktemp("log"), addresses_max)
    assert c == python


@settings(max_examples=60)
@given(written_events(), st.integers(1, 20), st.data())
def test_both_decoders_find_the_same_damage(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[Written],
    flush_every: int,
    data: st.DataObject,
) -> None:
    log = python_log(written, flush_every)
    body = with_valid_crcs(log + data.draw(mutated(log[len(python_log([])) :])))
    python, c = both(body, tmp_path_factory.mktemp("log"))
    assert c == python


def test_without_a_compiler_python_does_it(tmp_path: Path) -> None:
    log = device_log(tmp_path / "log.lvmm")
    outputs = []
    for value in ("1", "0"):
        environment = {**os.environ, "LVMM_NATIVE": value}
        for command in (["stats"], ["verify"], ["verify", "--decode"]):
            done = subprocess.run(
                [sys.executable, str(TOOL), *command, str(log), "--json"],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
            outputs.append((json.loads(done.stdout), "CRC only" in done.stderr))
    assert outputs[0] == outputs[3]
    assert outputs[1] == outputs[2] == outputs[5]
    assert not outputs[1][1] and outputs[1][0]["decoded"]
    assert outputs[4][1] and not outputs[4][0]["decoded"]
    assert outputs[4][0]["events"] == outputs[1][0]["events"]


def test_a_library_that_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(native.EnvironmentProblem, match="cannot build"):
        native.build(tmp_path / "no" / "folder.so")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(native.EnvironmentProblem, match="no C compiler"):
        native.build(tmp_path / "library.so")
    monkeypatch.setattr(native, "_ROOT", tmp_path)
    native.library.cache_clear()
    assert fast_counter() is None
    native.library.cache_clear()


def test_memory_does_not_grow_with_the_source(tmp_path: Path) -> None:
    """A sparse image of 4 GB with a region near its end."""
    image = image_with(tmp_path / "ram", {4000 * MIB: region_of()}, 4096 * MIB)
    program = (
        "import re, runpy, sys\n"
        f"sys.argv = ['extract_log', 'verify', {str(image)!r}]\n"
        f"try: runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        # ru_maxrss would have that of the process which started this one, too.
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) < 200_000, "kilobytes"
