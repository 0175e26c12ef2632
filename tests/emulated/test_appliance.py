"""The sample appliance, an OS of its own with its own driver; and the race that it can have."""

from __future__ import annotations

import functools
import itertools
import re
import shutil
import time
import zlib
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

import pytest
from tests.emulated import tshark
from tests.emulated.gdb_run import debugged
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    TINY_MEMORY_MIB,
    assert_identical,
    events_of,
    replay,
    tampered,
)
from tests.host.dma_log import e1000_streams

from lvmm import guest_build, netpeer, session
from lvmm.echo_peer import EchoPeer, EchoResult
from lvmm.guest import Guest
from lvmm.logs import Recording
from lvmm.logs.devices import profile_name
from lvmm.logs.layout import Dma
from lvmm.recording_dir import Manifest
from lvmm.session import RunSettings

SENT_MAX = 262144  # bytes of a sent frame that are recorded, unless told otherwise
REQUESTS = 400
SHORT_REQUESTS = 200

# The race shows once in some 1,500 requests: in 15,000 it fails to in one test of 20,000.
RACE_REQUESTS = 5000
RACE_RUNS = 3
PANIC = "appliance: panic: "

# Tests that share a recording, and so a worker.
of_echoes = pytest.mark.xdist_group("echoes")


@dataclass(frozen=True)
class Run:
    """A recording of the appliance and what its peer saw."""

    directory: Path
    manifest: Manifest
    peer: EchoResult
    began: float  # Unix time

    @property
    def console(self) -> list[str]:
        return (self.directory / "console.log").read_text().splitlines()


def record(
    directory: Path,
    words: str,
    requests: int,
    seed: int,
    *,
    on_demand: bool = False,
    early_reads: bool = False,
) -> Run:
    """Records the appliance, pinged until all is answered or the appliance has ended."""
    guest = Guest("multiboot", guest_build.appliance(), words, TINY_MEMORY_MIB)
    port = netpeer.free_port()
    settings = RunSettings(
        seed=seed,
        timeout_s=RECORD_TIMEOUT_S,
        net_port=port,
        on_demand=on_demand,
        early_reads=early_reads,
    )
    peer = EchoPeer(port, requests, seed)
    peer.start()
    began = time.time()
    try:
        manifest = session.record(BOARD, guest, settings, directory)
    finally:
        result = peer.stop()
    return Run(directory, manifest, result, began)


@pytest.fixture(scope="module")
def echoed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A recording with all requests answered."""
    run = record(tmp_path_factory.mktemp("echoes") / "recording", "", REQUESTS, seed=1)
    assert run.peer.complete, run.peer
    return run


@of_echoes
def test_echoes_replay_identically(echoed: Run, tmp_path: Path) -> None:
    run = echoed
    assert run.manifest.end_reason == "reset"
    half = REQUESTS // 2
    answered = f"{half} ICMP, {half} UDP, digest {run.peer.digest:08x}; ignored 0"
    assert run.console[-1].endswith(answered)
    for seed in (2, 3):
        assert_identical(replay(run.directory, seed, tmp_path / f"replay-{seed}"))
    if shutil.which("tshark") is not None:
        tshark_sees_it(run, tmp_path / "net.pcapng")


def tshark_sees_it(run: Run, capture: Path) -> None:
    """Another decoder finds the peer's frames, each way in order, with the times of the run."""
    with Recording.open(run.directory) as recording:
        assert recording.header is not None
        streams = recording.header.dma_streams
        card = [stream for stream in streams if profile_name(stream) == "e1000"]
        assert card == e1000_streams(SENT_MAX, card[0].stream)
    said = tshark.write_pcap(run.directory, capture)
    frames = tshark.decode(capture)
    received = [frame for frame in frames if frame.inbound]
    sent = [frame for frame in frames if not frame.inbound]
    assert f"e1000 00:03.0: {len(received)} frames received, {len(sent)} sent" in said
    assert {frame.interface for frame in frames} == {"e1000 00:03.0"}
    assert [frame.data for frame in sent] == run.peer.from_guest
    # While the appliance starts, and after its end, what the peer sends is lost.
    arp = run.peer.to_guest[0]
    first = next(i for i, frame in enumerate(run.peer.to_guest) if frame != arp)
    requests, quits = run.peer.to_guest[first:][:REQUESTS], run.peer.to_guest[first:][REQUESTS:]
    asked = next(i for i, frame in enumerate(received) if frame.data != arp)
    assert 1 <= asked <= first
    assert [frame.data for frame in received[asked:][:REQUESTS]] == requests
    assert {frame.data for frame in received[asked:][REQUESTS:]} == set(quits)

    decoded = [frame.payload for frame in received[asked:][:REQUESTS]]
    assert functools.reduce(lambda crc, data: zlib.crc32(data, crc), decoded, 0) == run.peer.digest
    assert sorted(frame.payload for frame in sent if frame.payload) == decoded
    assert all(frame.ip_checksum_is_good for frame in frames if frame.payload)
    for earlier, later in itertools.pairwise(frames):
        assert earlier.seconds <= later.seconds
        assert last_event(earlier.comment) < last_event(later.comment)
    assert run.began - 1 < frames[0].seconds < time.time() + 3600


@of_echoes
def test_changed_packet_is_found(echoed: Run, tmp_path: Path) -> None:
    """One bit of a received payload: the guest's digest, and so its output, differs."""
    events = events_of(echoed.directory)
    payloads = [e.index for e in events if isinstance(e.payload, Dma) and len(e.payload.data) > 900]
    index = payloads[len(payloads) // 2]
    payload = events[index].payload
    assert isinstance(payload, Dma)
    data = bytearray(payload.data)
    data[500] ^= 1
    events[index] = changed(events[index], payload=changed(payload, data=bytes(data)))
    tampered(echoed.directory, tmp_path / "planted", events)
    verdict = replay(tmp_path / "planted", 3, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["event"] > index
    assert not verdict.identical


def last_event(comment: str) -> int:
    """The number of the frame's last event, as its comment says."""
    match = re.match(r"events? (?:\d+-)?(\d+),", comment)
    assert match, comment
    return int(match[1])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many short recordings as --appliance-recordings says."""
    if "number" in metafunc.fixturenames:
        metafunc.parametrize("number", range(metafunc.config.getoption("--appliance-recordings")))


def test_short_recordings_replay_identically(number: int, tmp_path: Path) -> None:
    """With those of test_linux.py they are twenty. Other traffic, skid and driver in each; and half
    of them begin when the network has been set up and the first frame is there. A quarter looks for
    early reads, of which there are none: see test_early_reads.py."""
    words = "race" if number % 2 else ""
    on_demand = number % 4 < 2
    if on_demand:
        words += " on-demand"
    seed = 100 + number
    early_reads = number % 4 == 2
    run = record(
        tmp_path / "recording",
        words,
        SHORT_REQUESTS,
        seed,
        on_demand=on_demand,
        early_reads=early_reads,
    )
    assert run.manifest.early_reads == (() if early_reads else None)
    assert (events_of(run.directory)[0].name == "BEGIN") == on_demand
    assert run.peer.complete or run.manifest.end_reason == "guest-panic", run.peer
    assert_identical(replay(run.directory, 200 + number, tmp_path / "replay"))


def record_until_it_fails(folder: Path) -> Run:
    for seed in range(1, RACE_RUNS + 1):
        run = record(folder / f"recording-{seed}", "race", RACE_REQUESTS, seed)
        if any(line.startswith(PANIC) for line in run.console):
            return run
    pytest.fail(f"no race in {RACE_RUNS} runs of {RACE_REQUESTS} requests")


def test_the_race_is_recorded_and_comes_again(tmp_path: Path) -> None:
    """The verdict compares console, registers, position and memory with the recording's."""
    run = record_until_it_fails(tmp_path)
    assert run.manifest.end_reason == "guest-panic"
    assert run.peer.answered < RACE_REQUESTS
    assert run.console[-1].startswith(PANIC)
    assert run.console[-1].endswith("is free, and yet in use")
    assert_identical(replay(run.directory, 4, tmp_path / "replay"))
    gdb_sees_it(run, tmp_path)


# Between race and panic the buffer may have gone through the pool once more.
_BACK_TO_THE_RACE = """
reverse-continue
set $tries = 0
while $tries < 40 && !$_any_caller_is("pool_put", 20)
  reverse-continue
  set $tries = $tries + 1
end
"""


def gdb_sees_it(run: Run, folder: Path) -> None:
    """Real gdb stops at the failed check, sees beyond the interrupt, goes back from the end to what
    took the buffer within pool_put(), and changes nothing.
    """
    match = re.search(r"buffer (\d+) is free", run.console[-1])
    assert match, run.console[-1]
    owner = f"buffers[{match[1]}].owner"
    script = folder / "back.gdb"
    script.write_text(_BACK_TO_THE_RACE)
    with debugged(folder / "gdb", "replay", run.directory) as debug:
        said = debug.gdb(
            None,
            f"file {guest_build.appliance()}",
            *("break panic", "continue", "backtrace", "print pool.racy", "print pool.first->owner"),
            *("delete", "continue", f"watch -l {owner} if {owner} == OWNER_POOL"),
            *("echo back\\n", f"source {script}", "backtrace", "delete", "detach"),
        )
        assert debug.ended() == 0, debug.said
    assert re.search(r"^#1 .*\bpool_take \(", said, re.MULTILINE), said
    assert re.search(r"^#\d+ .*\bstart \(", said, re.MULTILINE), said
    _, back, before = said.partition("back\n")
    assert back and "New value = OWNER_POOL" in before, said
    race = r"^#0 .*\bpool_take \(.*\n(#.*\n)*#\d+ .*\bpool_put \("
    assert re.search(race, before, re.MULTILINE), said
    assert "$1 = true" in said
    assert "$2 = OWNER_CARD" in said or "$2 = OWNER_STACK" in said
    assert "reached the end of its recording (guest panic)" in said
    assert "the replay is identical" in debug.output.with_suffix(".out").read_text()
