"""Watchpoints that no debug register can express, and writes that no instruction made."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.emulated.gdb_run import debugged
from tests.emulated.machine import assert_identical, events_of, replay
from tests.emulated.test_polled_dma import frames_to
from tests.host.gdb_client import Client

from lvmm import netpeer
from lvmm.guest_build import tiny_guest
from lvmm.logs import Event
from lvmm.logs.layout import Dma
from lvmm.netpeer import BROADCAST

PAGE = 4096
MANY = 64

Stop = tuple[int, int, int]


def address_of(guest: str, symbol: str) -> int:
    """Of a variable of a tiny guest, as nm says."""
    listing = subprocess.run(["nm", tiny_guest(guest)], capture_output=True, text=True, check=True)
    (found,) = re.findall(rf"^(\w+) \w {symbol}$", listing.stdout, re.MULTILINE)
    return int(found, 16)


def watch(client: Client, address: int, length: int) -> None:
    assert client.ask(b"Z2,%x,%x" % (address, length)) == b"OK"


def unwatch(client: Client, address: int, length: int) -> None:
    assert client.ask(b"z2,%x,%x" % (address, length)) == b"OK"


def run_to_watch(client: Client) -> Stop:
    """Goes on to the next watchpoint; the data's address, branches and RIP then."""
    reply = client.ask(b"c")
    data = re.search(rb";watch:(\w+);", reply)
    assert data, reply
    said = client.console("when")
    branches, rip = re.search(r"branches (\d+)", said), re.search(r"RIP +(\w+)", said)
    assert branches and rip, said
    return int(data[1], 16), int(branches[1]), int(rip[1], 16)


def run_to_end(client: Client) -> None:
    """Lets the guest run to its end; the debugger has seen it then."""
    client.send(b"c")
    _, reply = client.shown()
    assert reply.startswith((b"T05", b"T06")) and b"watch:" not in reply, reply


def memory(client: Client, address: int, length: int) -> bytes:
    return bytes.fromhex(client.ask(b"m%x,%x" % (address, length)).decode())


def all_writes(client: Client) -> list[Stop]:
    """Where the guest `watched` writes, with a long range and many short ones."""
    wide, many = address_of("watched", "wide"), address_of("watched", "many")
    watch(client, wide, 2 * PAGE + 500)
    watch(client, wide + 9000, 4)  # by debug register, in a page that EPT watches
    watch(client, wide + 9100, 1)
    for i in range(MANY):
        watch(client, many + i * PAGE, 4)
    stops = [run_to_watch(client) for _ in range(8)]
    assert [data for data, _, _ in stops] == [
        wide + 5000,
        wide + PAGE - 1,
        wide + PAGE,
        wide + 9000,
        wide + 9100,
        many,
        many + MANY // 2 * PAGE,
        many + (MANY - 1) * PAGE,
    ]
    assert all(memory(client, wide + at, 1) != b"\0" for at in (5000, PAGE - 1, PAGE, 9000, 9100))
    run_to_end(client)
    return stops


def test_long_ranges_many_ranges_and_emulated_writes(tmp_path: Path) -> None:
    seen = []
    recorded, replayed = tmp_path / "record", tmp_path / "replay"
    guest = ["--multiboot", tiny_guest("watched"), "--memory", 16]
    with debugged(recorded, "record", *guest, "--wait", "-o", tmp_path / "r") as run:
        with Client(run.port, timeout_s=60) as client:
            seen.append(all_writes(client))
        assert run.ended() == 0, run.said
    with debugged(replayed, "replay", tmp_path / "r") as run:
        with Client(run.port, timeout_s=60) as client:
            seen.append(all_writes(client))
        assert run.ended() == 0, run.said
    assert "the replay is identical" in replayed.with_suffix(".out").read_text()
    assert seen[0] == seen[1]


def buffers_and_status(client: Client, status: int | None) -> list[Stop]:
    """Where the network card writes to the buffers of the guest `polling`, 128 KiB, and then to the
    status byte of a descriptor, which is for a debug register: of the first free one, or `status`.
    """
    buffers, ring = address_of("polling", "buffers"), address_of("polling", "ring")
    watch(client, buffers, 64 * 2048)
    first = run_to_watch(client)
    assert first[0] == buffers
    assert memory(client, buffers, 6) == BROADCAST
    unwatch(client, buffers, 64 * 2048)
    if status is None:
        done = memory(client, ring, 64 * 16)[12::16]
        status = ring + 16 * done.index(0) + 12
    watch(client, status, 1)
    second = run_to_watch(client)
    assert second[0] == status
    assert memory(client, status, 1)[0] & 1, "done"
    unwatch(client, status, 1)
    run_to_end(client)
    return [first, second]


def test_what_the_device_writes(tmp_path: Path) -> None:
    port = netpeer.free_port()
    guest = ["--multiboot", tiny_guest("polling"), "--memory", 16, "--net-port", port]
    with (
        frames_to(port, seed=port),
        debugged(tmp_path / "record", "record", *guest, "--wait", "-o", tmp_path / "r") as run,
    ):
        with Client(run.port, timeout_s=60) as client:
            watched = [stop[0] for stop in buffers_and_status(client, None)]
        assert run.ended() == 0, run.said
    with debugged(tmp_path / "replay", "replay", tmp_path / "r") as run:
        with Client(run.port, timeout_s=60) as client:
            stops = buffers_and_status(client, watched[1])
        assert run.ended() == 0, run.said
    assert "the replay is identical" in (tmp_path / "replay.out").read_text()
    events = events_of(tmp_path / "r")
    for address, branches, rip in stops:
        event = next(event for event in events if writes_to(event, address))
        assert (event.branches, event.rip) == (branches, rip), "a replay stops where the log has it"
    assert_identical(replay(tmp_path / "r", 5, tmp_path / "again"))


def writes_to(event: Event, address: int) -> bool:
    """Whether it is DMA to that address."""
    dma = event.payload
    return isinstance(dma, Dma) and dma.gpa <= address < dma.gpa + len(dma.data)
