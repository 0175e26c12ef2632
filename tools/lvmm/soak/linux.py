"""Debian's kernels as workloads."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from lvmm import guest_build
from lvmm.board import Board
from lvmm.netpeer import NetPeer, Traffic, free_port
from lvmm.session import BOOT_MARK
from lvmm.soak.prepared import Prepared, served

LOADS = ("faults", "fork", "fpu", "rep", "selfmod", "switch", "timers", "tsc")
_RACE = "lvmm.race=50000"  # steps: the workload's own race is short
_ENDS = ("poweroff", "poweroff", "halt", "crash")
_DISK_BYTES = 4 << 20


def _end(chance: random.Random) -> str:
    return f"{_RACE} lvmm.end={chance.choice(_ENDS)}"


def stress(board: Board, chance: random.Random) -> Prepared:
    """Several loads in one boot."""
    loads = chance.sample(LOADS, chance.randrange(2, len(LOADS) + 1))
    words = f"lvmm.stress={','.join(loads)} lvmm.rounds={chance.randrange(1, 3)}"
    memory = chance.choice((96, 128))
    guest = guest_build.stress_linux_guest(board, f"{words} {_end(chance)}", memory)
    return Prepared(guest, f"{words} {memory} MiB", begins=BOOT_MARK)


def boot(board: Board, chance: random.Random) -> Prepared:
    """All of a boot to init, and the end."""
    memory, end = chance.choice((96, 128, 256)), _end(chance)
    guest = guest_build.stress_linux_guest(board, end, memory)
    return Prepared(guest, f"{end} {memory} MiB", begins=BOOT_MARK, whole=True)


def receive(board: Board, chance: random.Random) -> Prepared:
    """Datagrams at a low rate, or as fast as the guest acknowledges them."""
    packets = chance.randrange(64, 512)
    traffic = Traffic(
        seed=chance.randrange(1 << 30),
        size=chance.choice((64, 1024, 1472, None)),
        pauses=chance.choice((True, False)),
    )
    words = f"lvmm.packets={packets} {_end(chance)}"
    port = free_port()

    @contextmanager
    def peer() -> Iterator[None]:
        end = NetPeer(port, traffic)
        end.start()
        try:
            yield
        finally:
            result = end.stop()
        served(result.complete and not result.errors, result)

    memory = chance.choice((96, 128, 192))
    guest = guest_build.linux_guest(board, words, memory)
    pace = "with pauses" if traffic.pauses else "at once"
    said = f"{packets} of {traffic.size or 'mixed'} bytes, {pace}, {memory} MiB"
    return Prepared(guest, said, "lvmm: network up", dma=True, net_port=port, peer=peer)


def disk(board: Board, chance: random.Random) -> Prepared:
    """Reads and writes by DMA."""
    blocks = chance.randrange(16, 128)
    words = f"disk.large={blocks // 4} disk.small={blocks} disk.copied={blocks} disk.copy_to=512"
    memory = chance.choice((96, 128))
    guest = guest_build.disk_linux_guest(board, f"{words} disk.copy_from=0", memory_mib=memory)
    content = random.Random(chance.random()).randbytes(_DISK_BYTES)
    return Prepared(guest, f"{words} {memory} MiB", "disk: begin", dma=True, disk=content)
