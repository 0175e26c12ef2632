"""What a seed decides: the machine and the pace of a recording, and of its replays."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from lvmm.board import Board

# The emulated CPUs that the monitor knows, and those that a recording made on each replays on:
# they have all its features and store x87 state as it does.
REPLAYED_ON = {
    "corei7_haswell_4770": ("corei7_haswell_4770", "broadwell_ult"),
    "broadwell_ult": ("broadwell_ult",),
    "corei7_skylake_x": ("corei7_skylake_x", "tigerlake", "sapphire_rapids"),
    "corei7_icelake_u": ("corei7_icelake_u", "tigerlake"),
    "tigerlake": ("tigerlake",),
    "sapphire_rapids": ("sapphire_rapids",),
}
_IPS = (20_000_000, 50_000_000, 150_000_000)
# Of a kernel that boots for long. Its timers are the busier, the fewer instructions make a second.
_IPS_LONG = (50_000_000, 75_000_000, 100_000_000)
_MARGINS = (0, 10, 100)  # the monitor reckons with 100 at most
# Instructions between two flushes of the TLB, on average. More often, and an emulated CPU hardly
# gets from one to the next.
_TLB_FLUSHES = (0, 0, 2_000, 20_000, 1_000_000)
_TLB_FLUSHES_LONG = (0, 0, 20_000, 20_000, 1_000_000, 1_000_000, 2_000)


@dataclass(frozen=True)
class Conditions:
    """Of one run of the machine. `seed` is of the counter's skid and of the TLB's flushes, `ips`
    the instructions in an emulated second, `skid_margin` and `tlb_flush` are the board's.
    """

    seed: int
    cpu_model: str
    ips: int
    skid_margin: int
    tlb_flush: int

    def board(self, board: Board) -> Board:
        """The board under these conditions."""
        emulator = dataclasses.replace(
            board.emulator,
            cpu_model=self.cpu_model,
            ips=self.ips,
            skid_margin=self.skid_margin,
            tlb_flush=self.tlb_flush,
        )
        return dataclasses.replace(board, emulator=emulator)


def draw(
    chance: random.Random, models: tuple[str, ...] = tuple(REPLAYED_ON), *, long: bool = False
) -> Conditions:
    """Conditions with one of these CPUs; of a guest that takes `long` to boot."""
    return Conditions(
        seed=chance.randrange(1, 1 << 31),
        cpu_model=chance.choice(models),
        ips=chance.choice(_IPS_LONG if long else _IPS),
        skid_margin=chance.choice(_MARGINS),
        tlb_flush=chance.choice(_TLB_FLUSHES_LONG if long else _TLB_FLUSHES),
    )
