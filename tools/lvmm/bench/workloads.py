"""The workloads of ./lvmm bench: what is measured in each mode, and on which guest."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvmm import guest_build
from lvmm.bench.devices import LINE_POLL_US
from lvmm.bench.modes import Machine, Phase
from lvmm.bench.tcp_peer import TcpPeer
from lvmm.board import Board
from lvmm.echo_peer import EchoPeer
from lvmm.errors import EnvironmentProblem, MachineError
from lvmm.guest import Guest
from lvmm.messages import say
from lvmm.netpeer import WINDOW, NetPeer, Traffic, free_port
from lvmm.session import RunSettings

HEADERS = 42  # of Ethernet, IPv4 and UDP, bytes of a frame
MIN_FRAME = 60

_DEADLINE_S = 3600.0
_DISK_BYTES = 64 << 20
_SEED = 1
# Instructions to a second of emulated time: nearer to a server's than the board's, so that the
# kernel's clock does not tick every few packets.
_IPS = 200_000_000
_APPLIANCE_MIB = 16


@dataclass(frozen=True)
class Kind:
    """Work of a Linux guest: `group` is its name on the command line of ./lvmm bench, `words` those
    of the guest's init (tests/guests/linux/phases), with the number of rounds, datagrams, commands
    or bytes in them, of which `quick` are fewer. A phase has `each` units for each of those.
    """

    group: str
    name: str
    unit: str
    words: str
    count: int
    quick: int
    each: float = 1
    data: int = 0
    traffic: Traffic | None = None

    def phase(self, quick: bool) -> tuple[str, Phase]:
        """What the guest is told, and what that is."""
        count = self.quick if quick else self.count
        units = round(count * self.each)
        return self.words.format(count), Phase(self.name, self.unit, units, self.data)


def _flood(name: str, size: int) -> Kind:
    """As many as the line takes, and no acknowledgement but the last. A few are made and come again
    and again, for the peer must be faster than the line.
    """
    traffic = Traffic(seed=_SEED, size=size, pauses=False, distinct=WINDOW, flood=True)
    return _datagrams(name, traffic, "udp:{0}:{0}", 4000, 1000)


def _one_at_a_time(name: str, size: int) -> Kind:
    traffic = Traffic(seed=_SEED, size=size, pauses=False, window=1, distinct=1)
    return _datagrams(name, traffic, "udp:{}:1", 500, 50)


def _datagrams(name: str, traffic: Traffic, words: str, count: int, quick: int) -> Kind:
    assert traffic.size is not None
    frame = max(traffic.size + HEADERS, MIN_FRAME)
    return Kind("udp", name, "datagram", words, count, quick, 1, frame, traffic)


KINDS = (
    Kind("fork", "processes", "process", "fork:{}", 20, 1, 8),
    Kind("faults", "page faults", "round of 256 pages", "faults:{}", 10, 1),
    Kind("timers", "timers and signals", "signal awaited", "timers:{}", 20, 1, 10),
    Kind("switch", "context switches", "byte there and back", "switch:{}", 10, 1, 500),
    Kind("tsc", "RDTSC", "reading", "tsc:{}", 10, 1, 3000),
    Kind("rep", "REP instructions", "MiB", "rep:{}", 5, 1, 3),
    Kind("fpu", "FPU and AVX", "step", "fpu:{}", 50, 1, 40000),
    Kind("selfmod", "self-modifying code", "call", "selfmod:{}", 40, 1, 500),
    Kind("disk", "disk read, 4 KiB", "command", "disk-read:{}:4096", 512, 16, 1, 4096),
    Kind("disk", "disk read, 64 KiB", "command", "disk-read:{}:65536", 256, 8, 1, 65536),
    Kind("disk", "disk write, 4 KiB", "command", "disk-write:{}:4096", 512, 16, 1, 4096),
    Kind("disk", "disk write, 64 KiB", "command", "disk-write:{}:65536", 256, 8, 1, 65536),
    _flood("UDP, 64 bytes", 64),
    _flood("UDP, 1,024 bytes", 1024),
    _flood("UDP, 1,472 bytes", 1472),
    _one_at_a_time("UDP, 1,024, low rate", 1024),
    Kind("tcp", "TCP in", "KiB", "tcp-in:{}", 4 << 20, 128 << 10, 1 / 1024, 1024),
    Kind("tcp", "TCP out", "KiB", "tcp-out:{}", 4 << 20, 128 << 10, 1 / 1024, 1024),
)
REQUESTS, QUICK_REQUESTS = 3000, 200

APPLIANCE = "appliance"
GROUPS = ("boot", *dict.fromkeys(kind.group for kind in KINDS), APPLIANCE)


def machines(board: Board, names: tuple[str, ...], quick: bool, scratch: Path) -> list[Machine]:
    """What is to be run for the groups named; for all without a name."""
    found = []
    kinds = [kind for kind in KINDS if not names or kind.group in names]
    if kinds or not names or "boot" in names:
        found.append(linux(board, kinds, quick, scratch))
    if not names or APPLIANCE in names:
        found.append(appliance(board, quick))
    return found


def _has_tcp() -> bool:
    """Whether this system can be a peer that speaks TCP; says why not."""
    try:
        with TcpPeer(free_port()):
            return True
    except EnvironmentProblem as problem:
        say(f"left out: {problem}")
        return False


def linux(board: Board, kinds: list[Kind], quick: bool, scratch: Path) -> Machine:
    """Debian's stock kernel: boot, and what is chosen of loads, disk and network, in one run."""
    speaks_tcp = any(kind.group == "tcp" for kind in kinds) and _has_tcp()
    kinds = [kind for kind in kinds if speaks_tcp or kind.group != "tcp"]
    traffics = [kind.traffic for kind in kinds if kind.traffic is not None]
    port = free_port() if speaks_tcp or traffics else None
    disk = None
    if any(kind.group == "disk" for kind in kinds):
        disk = scratch / "disk.img"
        disk.write_bytes(random.Random(_SEED).randbytes(1 << 20) * (_DISK_BYTES >> 20))
    chosen = [kind.phase(quick) for kind in kinds]
    words = f"bench.phases={','.join(word for word, _ in chosen)}"
    if port is not None:
        words += " bench.network=yes"

    @contextlib.contextmanager
    def peer() -> Iterator[None]:
        if port is None:
            yield
            return
        with TcpPeer(port) if speaks_tcp else contextlib.nullcontext() as others:
            end = NetPeer(port, *(traffics or [Traffic()]))
            end.others = ("127.0.0.1", others) if others is not None else None
            end.start()
            try:
                yield
            finally:
                result = end.stop()
        if result.errors or (traffics and not result.complete):
            raise MachineError(f"bench: the guest did not receive all datagrams: {result}")

    return Machine(
        "Debian",
        guest_build.phases_linux_guest(board, words),
        [phase for _, phase in chosen],
        RunSettings(
            seed=_SEED,
            timeout_s=_DEADLINE_S,
            net_port=port,
            nic_poll_us=LINE_POLL_US,
            ips=_IPS,
            guest_disk=disk,
        ),
        peer,
    )


def appliance(board: Board, quick: bool) -> Machine:
    """The sample appliance, which answers pings and datagrams."""
    requests = QUICK_REQUESTS if quick else REQUESTS
    port = free_port()

    @contextlib.contextmanager
    def peer() -> Iterator[None]:
        end = EchoPeer(port, requests, _SEED)
        end.start()
        try:
            yield
        finally:
            result = end.stop()
        if not result.complete:
            raise MachineError(f"bench: the appliance answered {result.answered} of {requests}")

    return Machine(
        "appliance",
        Guest("multiboot", guest_build.appliance(), "", _APPLIANCE_MIB),
        [Phase("appliance", "request", requests)],
        RunSettings(
            seed=_SEED, timeout_s=_DEADLINE_S, net_port=port, nic_poll_us=LINE_POLL_US, ips=_IPS
        ),
        peer,
        end_mark="appliance: answered",
        boots=False,
    )
