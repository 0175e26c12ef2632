"""What a soak records: guests that come with lvmm, with sizes and words that chance decides."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lvmm import guest_build
from lvmm.board import Board
from lvmm.echo_peer import EchoPeer
from lvmm.errors import MachineError
from lvmm.guest import Guest
from lvmm.netpeer import NetPeer, Traffic, free_port

# Tiny guests that end by themselves.
TINY = (
    *("a20", "apic", "fpu", "hello", "idle", "inputs", "paging", "rep", "selfmod", "shadow"),
    *("stale", "timer"),
)
LOADS = ("faults", "fork", "fpu", "rep", "selfmod", "switch", "timers", "tsc")
_END = "lvmm.end=poweroff lvmm.race=200000"


@dataclass(frozen=True)
class Prepared:
    """A guest that is ready to be recorded. While `peer` is entered the other end of the cable is
    there, which raises MachineError on leaving where it was not served.
    """

    guest: Guest
    settings: str  # what was drawn, for people
    net_port: int | None = None
    peer: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    disk: bytes = b""  # content of the disk that it has besides


def _tiny(board: Board, chance: random.Random) -> Prepared:
    name = chance.choice(TINY)
    memory = chance.choice((8, 16, 64))
    return Prepared(Guest("multiboot", guest_build.tiny_guest(name), "", memory), name)


def _sector(board: Board, chance: random.Random) -> Prepared:
    return Prepared(Guest("sector", guest_build.boot_sector("real_mode"), "", 16), "real_mode")


def _appliance(board: Board, chance: random.Random) -> Prepared:
    requests, seed, port = chance.randrange(50, 300), chance.randrange(1 << 30), free_port()
    guest = Guest("multiboot", guest_build.appliance(), "", chance.choice((8, 16, 64)))

    @contextlib.contextmanager
    def peer() -> Iterator[None]:
        end = EchoPeer(port, requests, seed)
        end.start()
        try:
            yield
        finally:
            result = end.stop()
        if not result.complete:
            raise MachineError(f"the appliance did not answer all: {result}")

    return Prepared(guest, f"{requests} requests", port, peer)


def _stress(board: Board, chance: random.Random) -> Prepared:
    loads = chance.sample(LOADS, chance.randrange(2, len(LOADS) + 1))
    rounds = chance.randrange(1, 9)
    words = f"lvmm.stress={','.join(loads)} lvmm.rounds={rounds}"
    memory = chance.choice((96, 128, 256))
    guest = guest_build.stress_linux_guest(board, f"{words} {_END}", memory)
    return Prepared(guest, f"{words} {memory} MiB")


def _receiving(board: Board, chance: random.Random) -> Prepared:
    packets = chance.randrange(64, 512)
    traffic = Traffic(
        seed=chance.randrange(1 << 30),
        size=chance.choice((64, 1024, 1472, None)),
        pauses=chance.choice((True, False)),
    )
    words = f"lvmm.packets={packets} {_END}"
    port = free_port()

    @contextlib.contextmanager
    def peer() -> Iterator[None]:
        end = NetPeer(port, traffic)
        end.start()
        try:
            yield
        finally:
            result = end.stop()
        if result.errors or not result.complete:
            raise MachineError(f"the guest did not receive all: {result}")

    memory = chance.choice((128, 256, 512))
    guest = guest_build.linux_guest(board, words, memory)
    pace = "with pauses" if traffic.pauses else "at once"
    said = f"{packets} of {traffic.size or 'mixed'} bytes, {pace}, {memory} MiB"
    return Prepared(guest, said, port, peer)


def _disk(board: Board, chance: random.Random) -> Prepared:
    blocks = chance.randrange(16, 128)
    words = f"disk.large={blocks // 4} disk.small={blocks} disk.copied={blocks} disk.copy_to=512"
    guest = guest_build.disk_linux_guest(board, f"{words} disk.copy_from=0")
    return Prepared(guest, words, disk=random.Random(chance.random()).randbytes(4 << 20))


@dataclass(frozen=True)
class Workload:
    """`weight`: of a hundred runs in which all workloads take part, so many are this one's."""

    what: str
    weight: int
    prepare: Callable[[Board, random.Random], Prepared]


WORKLOADS = {
    "tiny": Workload("a tiny guest: one hard thing each", 50, _tiny),
    "sector": Workload("a boot sector in real mode", 5, _sector),
    "appliance": Workload("the sample appliance, pinged", 25, _appliance),
    "stress": Workload("Debian's small kernel under loads", 12, _stress),
    "receive": Workload("Debian's stock kernel, its e1000 driver and datagrams", 5, _receiving),
    "disk": Workload("Debian's small kernel, its ata_piix driver and a disk", 3, _disk),
}


def choose(names: tuple[str, ...], chance: random.Random) -> str:
    """One of these workloads; of all, where none is named."""
    among = names or tuple(WORKLOADS)
    return chance.choices(among, [WORKLOADS[name].weight for name in among])[0]


def write_disk(prepared: Prepared, path: Path) -> Path | None:
    """The image of the guest's disk, if it has one."""
    if not prepared.disk:
        return None
    path.write_bytes(prepared.disk)
    return path
