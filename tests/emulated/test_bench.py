"""`lvmm bench` on the emulated board: figures that can be checked in another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.emulated.machine import start_cli

from lvmm.bench import devices
from lvmm.bench.debug_link import PAGE, QUICK_REPETITIONS
from lvmm.bench.modes import BOOT, Mode
from lvmm.bench.throughput import EXIT_COST
from lvmm.bench.workloads import KINDS, QUICK_REQUESTS
from lvmm.echo_peer import MIN_PAYLOAD
from lvmm.link.frame import Frame
from lvmm.link.layout import (
    REPLY_FLAG,
    Channel,
    MemorySpace,
    ReadMemoryRequest,
    Registers,
    Status,
)

BYTE_US = 1e6 * 10 / 115200
WAIT_S = 600.0


def on_line(channel: int, size: int) -> range:
    """Bytes of a frame with so large a payload: COBS adds one in 254, the ends are two zeros."""
    least = len(Frame(channel, 1, b"\1" * size).encode())
    return range(least - size // 254 - 1, least + size // 254 + 2)


def test_debug_link(tmp_path: Path) -> None:
    process = start_cli(["bench", "debug-link", "--quick", "--json"], tmp_path / "bench")
    assert process.wait(WAIT_S) == 0, (tmp_path / "bench.err").read_text()
    facts = json.loads((tmp_path / "bench.out").read_text())
    assert facts["quick"] is True
    (link,) = [section for section in facts["benchmarks"] if section["name"] == "debug-link"]
    rows: dict[str, dict[str, Any]] = {row["what"]: row for row in link["rows"]}
    assert {row["repetitions"] for row in rows.values()} == {QUICK_REPETITIONS}

    def median(what: str, metric: str) -> float:
        return float(rows[what]["metrics"][metric]["median"])

    step, memory, registers = "single step", "read 4 KiB of memory", "read all registers"
    assert rows[step]["metrics"]["guest_instructions"]["values"] == [1] * QUICK_REPETITIONS
    assert median(step, "exits") == 1
    status = on_line(Channel.CONTROL | REPLY_FLAG, 1 + Status.STRUCT.size)
    notify = on_line(Channel.NOTIFY, Status.STRUCT.size)
    expected = {
        step: (1, range(status.start + notify.start, status.stop + notify.stop)),
        registers: (1, on_line(Channel.CONTROL | REPLY_FLAG, 1 + Registers.STRUCT.size)),
        memory: (
            1 + len(ReadMemoryRequest(MemorySpace.PHYSICAL, 0, PAGE).pack()),
            on_line(Channel.MEMORY | REPLY_FLAG, 1 + PAGE),
        ),
    }
    for what, (request, answer) in expected.items():
        there, back = median(what, "bytes_to_monitor"), median(what, "bytes_from_monitor")
        assert there in on_line(Channel.CONTROL, request), what
        assert back in answer, what
        assert median(what, "line_us") == pytest.approx((there + back) * BYTE_US)
        # No faster than the line, but for the bytes that its two ends hold.
        assert median(what, "emulated_us") > (there + back - 8) * 0.99 * BYTE_US
    for what in (registers, memory):
        assert median(what, "exits") == median(what, "guest_instructions") == 0


def test_devices(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Each device of the board; a read block or a received frame is in the log as it is."""
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes: give --disk-systems")
    process = start_cli(["bench", "devices", "--quick", "--json"], tmp_path / "bench")
    assert process.wait(WAIT_S) == 0, (tmp_path / "bench.err").read_text()
    facts = json.loads((tmp_path / "bench.out").read_text())
    (section,) = facts["benchmarks"]
    rows = {row["what"]: row["metrics"] for row in section["rows"]}

    def median(what: str, metric: str) -> float:
        return float(rows[what][metric]["median"])

    for size in devices.BLOCK_SIZES:
        read, write = f"IDE read, blocks of {size:,}", f"IDE write, blocks of {size:,}"
        assert median(read, "data") == size
        assert median(write, "data") == 0
        assert median(read, "log_per_byte") > 1
        assert median(read, "exits") > 0
        assert median(write, "exits") > 0
        usb = f"USB read, blocks of {size:,}"
        # With what changes in the status of the command, which has 13 bytes.
        assert size < median(usb, "data") <= size + 13
        assert median(usb, "log_per_byte") > 1
        assert median(usb, "exits") > 0
    for size in devices.FRAME_SIZES:
        # With the check sequence that the card stores, and a share of an ARP reply.
        data = median(f"e1000 receive, frames of {size:,}", "data")
        assert size + 4 <= data < size + 5


@pytest.mark.deadline(1800)
def test_peers(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """What QEMU makes of its own recording is a result; that it has run and received is checked."""
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes: give --disk-systems")
    process = start_cli(["bench", "peers", "--quick", "--json"], tmp_path / "bench")
    assert process.wait(3 * WAIT_S) == 0, (tmp_path / "bench.err").read_text()
    facts = json.loads((tmp_path / "bench.out").read_text())
    runs, ratios, papers = facts["benchmarks"]
    results = {row["what"]: row["result"] for row in runs["rows"]}
    assert results.pop("QEMU replay")
    assert results.pop("lvmm replay") == "identical"
    assert set(results.values()) == {"digest right"}
    rows = {row["what"]: row["metrics"] for row in ratios["rows"]}
    for system in ("lvmm", "QEMU"):
        # Each received byte is in the log, which says when it came besides.
        assert rows[system]["log_per_byte"]["median"] > 1
        assert rows[system]["record_boot_cpu"]["median"] > 0
    assert rows["lvmm"]["replay_run"]["median"] > 0
    assert len(papers["rows"]) == 5


def test_a_workload_in_all_modes(tmp_path: Path) -> None:
    """The appliance, from mark to mark: what is the same in all modes, and what cannot be."""
    process = start_cli(["bench", "appliance", "--quick", "--json"], tmp_path / "bench")
    assert process.wait(WAIT_S) == 0, (tmp_path / "bench.err").read_text()
    facts = json.loads((tmp_path / "bench.out").read_text())
    section, aims = facts["benchmarks"]
    assert {row["details"]["units"] for row in section["rows"]} == {QUICK_REQUESTS}
    rows = {row["details"]["mode"]: row for row in section["rows"]}
    assert set(rows) == {"native", "live", "record", "replay"}

    def each(mode: str, metric: str) -> float:
        return float(rows[mode]["metrics"][metric]["median"])

    exits = {mode: sum(row["details"]["exits"].values()) for mode, row in rows.items()}
    native = rows["native"]["details"]["instructions"]
    assert exits["native"] == each("native", "monitor_instructions") == 0
    assert each("native", "throughput") == 1
    for mode in ("live", "record", "replay"):
        instructions = rows[mode]["details"]["instructions"]
        modelled = native / (instructions + exits[mode] * EXIT_COST)
        assert each(mode, "throughput") == pytest.approx(modelled)
        assert each(mode, "monitor_instructions") > 0
        # The same requests: they differ by polls, and by what an exit made to begin again.
        assert each(mode, "guest_instructions") == pytest.approx(
            each("native", "guest_instructions"), rel=0.2
        )
    assert each("live", "log_bytes") == 0
    # Each request and its answer are in the log.
    assert each("record", "log_bytes") > 2 * MIN_PAYLOAD
    assert rows["record"]["details"]["log_bytes"] == rows["replay"]["details"]["log_bytes"]
    assert rows["record"]["details"]["log_bytes"]["DMA"] > MIN_PAYLOAD * QUICK_REQUESTS
    assert exits["live"] < exits["record"] < exits["replay"]
    (entry,) = aims["rows"]
    assert entry["metrics"]["measured"]["median"] > 0


def test_linux_in_all_modes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Debian's kernel with every load and transfer: what is received must be in the log."""
    if not request.config.getoption("--disk-systems"):
        pytest.skip("takes minutes: give --disk-systems")
    process = start_cli(["bench", "workloads", "--quick", "--json"], tmp_path / "bench")
    assert process.wait(6 * WAIT_S) == 0, (tmp_path / "bench.err").read_text()
    section, aims = json.loads((tmp_path / "bench.out").read_text())["benchmarks"]
    rows = {(row["details"]["workload"], row["details"]["mode"]): row for row in section["rows"]}
    names = {name for name, _mode in rows}
    assert {BOOT, "appliance", *(kind.name for kind in KINDS if kind.group != "tcp")} <= names
    assert len(rows) == len(names) * len(Mode)
    for name in names:
        native, record = rows[name, "native"]["details"], rows[name, "record"]["details"]
        assert not native["exits"]
        logged = sum(record["log_bytes"].values())
        assert logged == sum(rows[name, "replay"]["details"]["log_bytes"].values())
        assert record["exits"]
        if name.startswith(("TCP in", "disk read")):
            assert logged > record["data_bytes"]
        if name.startswith("UDP"):  # a window of them may be there before the phase begins
            assert logged > record["data_bytes"] * 0.5
        if name.startswith("disk write"):
            assert logged < record["data_bytes"]
    readings = rows["RDTSC", "record"]["details"]
    assert 0 < readings["exits"]["RDTSC"] < readings["units"] / 10
    assert len(aims["rows"]) == 9
