"""How a run is recorded: what of the log is kept and where it goes, and the network card's pace."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass

from lvmm.session import RING_MIN_KIB, RingSettings, RunSettings, Sink
from lvmm.triggers import Triggers, parse_trigger

WHOLE, PART, RING, SERIAL = "whole", "part", "ring", "serial"
# Weights of a guest that is over soon, and of one that boots for long before it says that its
# recording may begin: its replays need no boot.
_SHORT = {WHOLE: 12, RING: 4, SERIAL: 4}
_LONG = {WHOLE: 1, PART: 8, RING: 1}
_SERIAL_LOG_KIB = 256  # so little that the guest has to wait for the tool
# Events in an epoch; 0: as the ring is filled. A kernel that saves its pages all the time does not
# get through its boot.
_EPOCHS = (0, 25, 400)
_EPOCHS_LONG = (0, 2500)
_POLLS = (0, 0, 200, 30)  # microseconds; 0: the emulator's own millisecond
# Conditional branches from one checkpoint of a replay to the next; 0: none.
_CHECKPOINTS = (0, 0, 0, 20_000, 500_000)


@dataclass(frozen=True)
class Mode:
    """`log`: WHOLE, PART (from the text `start_at` on the console), RING or SERIAL (taken over the
    line meanwhile). `epoch_events` is the ring's. `checkpoints` are those of the second replay.
    """

    log: str = WHOLE
    start_at: str = ""
    epoch_events: int = 0
    early_reads: bool = False
    nic_poll_us: int = 0
    checkpoints: int = 0

    def settings(self, settings: RunSettings) -> RunSettings:
        """The settings of a recording in this mode."""
        start = parse_trigger(f"console {self.start_at}") if self.start_at else None
        return dataclasses.replace(
            settings,
            triggers=Triggers(start),
            ring=RingSettings(RING_MIN_KIB, 0, self.epoch_events) if self.log == RING else None,
            sink=Sink.SERIAL if self.log == SERIAL else Sink.MEMORY,
            log_kib=_SERIAL_LOG_KIB if self.log == SERIAL else None,
            early_reads=self.early_reads,
            nic_poll_us=self.nic_poll_us,
        )


def draw(chance: random.Random, *, begins: str, whole: bool, dma: bool, network: bool) -> Mode:
    """A mode for a guest that says `begins` when its boot is over, if that takes long. `whole`:
    there is only one. `dma`: it has devices whose buffers it may read too early; `network`: it has
    a peer.
    """
    weights = _LONG if begins else _SHORT
    log = WHOLE if whole else chance.choices(list(weights), list(weights.values()))[0]
    return Mode(
        log=log,
        start_at=begins if log == PART else "",
        epoch_events=chance.choice(_EPOCHS_LONG if begins else _EPOCHS) if log == RING else 0,
        early_reads=dma and chance.random() < 0.25,
        nic_poll_us=chance.choice(_POLLS) if network else 0,
        checkpoints=0 if begins or whole else chance.choice(_CHECKPOINTS),
    )
