"""The arithmetic of the workloads that `lvmm bench` runs in all modes, and the peers they need."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from pathlib import Path

import pytest

from lvmm.bench import aims, plots, suite, throughput, workloads
from lvmm.bench.log_growth import LogGrowth, growth_of
from lvmm.bench.modes import (
    BEGIN,
    BOOT,
    END,
    PAGING,
    READY,
    Machine,
    Mode,
    Phase,
    Spent,
    between,
    pairs_of,
)
from lvmm.bench.tcp_peer import SERVER_ADDRESS, TcpPeer
from lvmm.bench.throughput import Workload
from lvmm.board import load_board
from lvmm.cli import command_line
from lvmm.echo_peer import arp_request
from lvmm.emulator_stats import LineStats, Stats, StatsMark
from lvmm.errors import EnvironmentProblem, MachineError
from lvmm.guest import Guest
from lvmm.logs import Event
from lvmm.logs.layout import In, Interrupt, Rdtsc
from lvmm.netpeer import free_port
from lvmm.session import RunSettings

pytestmark = pytest.mark.host

PHASES = [Phase("one", "thing", 10), Phase("two", "thing", 1)]


def mark(number: int, at: int, exits: dict[int, int] | None = None) -> StatsMark:
    return StatsMark(number, 10 * at, 8 * at, at, at, at / 10, at / 20, exits or {})


def stats(*marks: StatsMark) -> Stats:
    return Stats(0, 0, 0, 0, 0, 0, 0, {}, LineStats(0, 0, 0, 0), marks)


def machine(boots: bool) -> Machine:
    return Machine("m", Guest("multiboot", None, "", 16), PHASES, RunSettings(), boots=boots)


def test_what_is_between_two_marks() -> None:
    first, last = mark(BEGIN, 100, {1: 5, 12: 7}), mark(END, 300, {1: 9, 12: 7, 30: 2})
    spent = between(first, last, monitored=True)
    assert (spent.instructions, spent.guest_instructions) == (2000, 1600)
    assert spent.monitor_instructions == 400
    assert spent.exits == {1: 4, 30: 2}
    assert spent.exit_count == 6
    assert spent.wall_s == pytest.approx(20)
    assert spent.cpu_s == pytest.approx(10)
    native = between(first, last, monitored=False)
    assert (native.guest_instructions, native.monitor_instructions) == (2000, 0)


def test_phases_are_in_the_order_of_the_marks() -> None:
    work = [mark(BEGIN, 5), mark(END, 6), mark(BEGIN, 8), mark(END, 9)]
    start = mark(PAGING, 1)
    pairs = pairs_of(machine(True), stats(start, mark(255, 2), mark(READY, 4), *work))
    assert pairs[BOOT] == (start, mark(READY, 4))
    assert pairs["one"] == (work[0], work[1])
    assert pairs["two"] == (work[2], work[3])
    assert set(pairs_of(machine(False), stats(start, *work))) == {"one", "two"}


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ((), "end of its boot"),
        ((mark(PAGING, 1), mark(BEGIN, 2)), "end of its boot"),
        ((mark(PAGING, 1), mark(READY, 2)), "marked one, two as"),
        ((mark(PAGING, 1), mark(READY, 2), mark(BEGIN, 3), mark(END, 4)), "marked two as"),
    ],
)
def test_a_guest_that_failed(marks: tuple[StatsMark, ...], said: str) -> None:
    with pytest.raises(MachineError, match=said):
        pairs_of(machine(True), stats(*marks))


def test_log_growth_of_parts() -> None:
    events = [
        Event(payload, branches, 0, offset=offset, size=size)
        for payload, branches, offset, size in (
            (In(0x60, 1, 1), 0, 100, 3),
            (In(0x60, 1, 1), 10, 103, 3),
            (Interrupt(0x20), 11, 106, 7),
            (In(0x60, 1, 1), 20, 113 + 64, 4),  # a chunk's header stands before it
            (Rdtsc(7), 21, 181, 1),
            (In(0x60, 1, 1), 35, 182, 2),
        )
    ]
    grown = growth_of(events, {"late": (30, 40), "boot": (-1, 0), "early": (10, 20)})
    assert grown["boot"] == LogGrowth(3, {"IN": 3}, 1)
    assert grown["early"] == LogGrowth(7 + 64 + 4, {"INTERRUPT": 7, "IN": 4}, 2)
    assert grown["late"] == LogGrowth(2, {"IN": 2}, 1)


def workload(name: str, units: int = 1, data: int = 0) -> Workload:
    log = LogGrowth(1200, {"DMA": 1000, "IN": 150}, 30)
    return Workload(
        Phase(name, "thing", units, data),
        {
            Mode.NATIVE: Spent(1_000_000, 1_000_000, {}, 2.0, 2.0),
            Mode.LIVE: Spent(1_010_000, 1_000_000, {12: 10}, 2.1, 2.1),
            Mode.RECORD: Spent(1_100_000, 1_000_000, {12: 60, 30: 40}, 2.2, 2.2, log),
            Mode.REPLAY: Spent(1_400_000, 1_000_000, {37: 400}, 1.1, 1.1, log),
        },
    )


def test_modelled_throughput() -> None:
    row = workload("work", 10).row(Mode.RECORD)
    assert row.what == "work, record"
    (sample,) = row.samples
    assert sample["throughput"] == pytest.approx(1_000_000 / (1_100_000 + 100 * 1500))
    assert (sample["guest_instructions"], sample["monitor_instructions"]) == (100_000, 10_000)
    assert (sample["exits"], sample["log_bytes"]) == (10, 120)
    assert sample["wall_by_native"] == pytest.approx(1.1)
    assert sample["wall_us"] == pytest.approx(220_000)
    assert row.details["exits"] == {"HLT": 60, "I/O instruction": 40}
    assert row.details["log_bytes"] == {"DMA": 1000, "IN": 150}
    section = throughput.section([workload("work", 10)])
    rows = {row["what"]: row for row in json.loads(json.dumps(section.as_json()))["rows"]}
    assert rows["work, native"]["metrics"]["throughput"]["median"] == 1
    assert rows["work, replay"]["metrics"]["wall_by_record"]["median"] == pytest.approx(0.5)
    assert rows["work, replay"]["details"]["exits"] == {"monitor trap flag": 400}


def test_aims() -> None:
    by_name = {
        BOOT: workload(BOOT),
        "UDP, 1,024 bytes": workload("UDP, 1,024 bytes", 10, 100),
        "UDP, 1,472 bytes": workload("UDP, 1,472 bytes", 1000, 1514),
    }
    section = aims.section(by_name, 16_000_000)
    assert section is not None
    found = {row.what: row.samples[0] for row in section.rows}
    assert found["boot to init: log, MB"]["measured"] == pytest.approx(0.0012)
    assert found["boot to init: wall time record / native"]["reached"] == 1
    assert found["boot to init: wall time replay / record"]["measured"] == pytest.approx(0.5)
    assert found["boot to init: processor time record / native"]["aim"] == 1.15
    assert found["UDP, 1,024 bytes: log per received byte"]["measured"] == pytest.approx(1.2)
    assert found["UDP, 1,024 bytes: log per received byte"]["reached"] == 0
    assert found["UDP, 1,472 bytes: exits per datagram, recorded"]["measured"] == 0.1
    throughput_row = found["UDP, 1,472 bytes: modelled throughput, recorded, at least"]
    assert throughput_row["reached"] == 0
    assert aims.section({}, 0) is None


def test_pictures(tmp_path: Path) -> None:
    files = plots.write_plots([workload("work"), workload("other")], tmp_path)
    assert {file.stem for file in files} == {"throughput", "exits", "log"}
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
        assert "<svg" in file.with_suffix(".svg").read_text()


def test_every_name_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line().parse_args(["bench", "--help"])
    text = re.sub(r"-\s+", "-", capsys.readouterr().out)  # where a line was broken
    assert set(suite.NAMES) <= set(re.split(r"[\s,;:]+", text))


def test_a_choice_of_workloads(tmp_path: Path) -> None:
    board = load_board("bochs-vtx")
    (chosen,) = workloads.machines(board, ("udp", "fork"), True, tmp_path)
    assert (
        "bench.phases=fork:1,udp:1000:1000,udp:1000:1000,udp:1000:1000,udp:50:1 "
        in chosen.guest.cmdline
    )
    assert chosen.settings.net_port is not None
    assert chosen.settings.guest_disk is None
    units = {phase.name: (phase.units, phase.data) for phase in chosen.phases}
    assert units["processes"] == (8, 0)
    assert units["UDP, 1,472 bytes"] == (1000, 1514)
    (boot,) = workloads.machines(board, ("boot",), True, tmp_path)
    assert not boot.phases
    assert boot.settings.net_port is None
    (disk,) = workloads.machines(board, ("disk",), False, tmp_path)
    assert disk.settings.guest_disk == tmp_path / "disk.img"
    (appliance,) = workloads.machines(board, ("appliance",), False, tmp_path)
    assert appliance.phases == [Phase("appliance", "request", workloads.REQUESTS)]


def test_the_tcp_peer_is_there() -> None:
    """Its kernel answers an ARP request for its own address."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        guest = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        guest.bind(("127.0.0.1", port))
        guest.settimeout(60)
        try:
            taken_at = stack.enter_context(TcpPeer(port))
        except EnvironmentProblem as problem:
            pytest.skip(str(problem))
        request, target = arp_request(), socket.inet_aton(SERVER_ADDRESS)
        guest.sendto(request[:38] + target + request[42:], ("127.0.0.1", taken_at))
        while (frame := guest.recv(4096))[12:14] != b"\x08\x06":
            pass
    assert frame[20:22] == b"\0\2"
    assert frame[28:32] == target
