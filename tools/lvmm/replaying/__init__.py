"""Replays of a recording on a board: run the machine by the log, compare everything."""

from lvmm.replaying.run import (
    CHECKPOINT_BRANCHES,
    Replayed,
    replay,
    replay_to_last_event,
    replay_until,
    replayed,
    with_room_for_checkpoints,
)
from lvmm.replaying.verdict import ReplayVerdict

__all__ = [
    "CHECKPOINT_BRANCHES",
    "ReplayVerdict",
    "Replayed",
    "replay",
    "replay_to_last_event",
    "replay_until",
    "replayed",
    "with_room_for_checkpoints",
]
