"""What a soak records: guests that come with lvmm, with sizes and words that chance decides."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lvmm.board import Board
from lvmm.soak import linux, small
from lvmm.soak.prepared import Prepared


@dataclass(frozen=True)
class Workload:
    """`weight`: of a thousand runs in which all workloads take part, so many are this one's."""

    what: str
    weight: int
    prepare: Callable[[Board, random.Random], Prepared]


# Of a Linux kernel that boots, a run costs ten to thirty times what a tiny guest's does.
WORKLOADS = {
    "tiny": Workload("a tiny guest: one hard thing each", 520, small.tiny),
    "sector": Workload("a boot sector in real mode", 50, small.sector),
    "own-disk": Workload("a disk that its machine's BIOS boots", 40, small.own_disk),
    "usb": Workload("a guest that polls a disk on USB", 40, small.usb),
    "hints": Workload("a sound card that only its driver's hints tell of", 40, small.hints),
    "polled": Workload("a guest that polls its card's ring, and frames", 40, small.polled),
    "appliance": Workload("the sample appliance, pinged", 180, small.appliance),
    "stress": Workload("Debian's small kernel under loads", 50, linux.stress),
    "boot": Workload("Debian's small kernel, all of its boot", 10, linux.boot),
    "receive": Workload("Debian's stock kernel, its e1000 driver and datagrams", 12, linux.receive),
    "disk": Workload("Debian's small kernel, its ata_piix driver and a disk", 18, linux.disk),
}


def choose(names: tuple[str, ...], chance: random.Random) -> str:
    """One of these workloads; of all, where none is named."""
    among = names or tuple(WORKLOADS)
    return chance.choices(among, [WORKLOADS[name].weight for name in among])[0]
