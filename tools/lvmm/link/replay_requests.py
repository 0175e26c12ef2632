"""Going back and forth in a replay: positions and checkpoints, as methods."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from lvmm.link.layout import (
    Checkpoint,
    CheckpointsReply,
    CheckpointsRequest,
    KeepCheckpointsReply,
    LastHitReply,
    LookBack,
    Opcode,
    PageChangesRequest,
    Position,
    PositionFlag,
    PositionReply,
    RestoreRequest,
    RunToRequest,
    Status,
)
from lvmm.link.session import LinkSession

_EXACT = PositionFlag.RIP | PositionFlag.CHECK


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a replay, oldest first; bytes of memory that they take and may take."""

    points: tuple[Checkpoint, ...]
    used: int
    room: int


class ReplayRequests:
    """What LinkClient.replay offers. All methods raise the exceptions of lvmm.link.errors: a
    monitor without checkpoints, or one that does not replay, refuses.
    """

    def __init__(
        self, session: LinkSession, run_control: Callable[[Opcode, bytes], Status]
    ) -> None:
        self._session = session
        self._run_control = run_control
        self._known: tuple[Checkpoint, ...] = ()

    def position(self) -> PositionReply:
        """Where the guest is, which must not run."""
        return PositionReply.unpack(self._session.request(Opcode.POSITION, b"", b"")[0])

    def checkpoints(self) -> Checkpoints:
        """All there are; none is later than the guest's position.

        Those that are known are not asked for again: the line may be slow. Where the last of them
        has its place, so have those before it, since numbers only grow.
        """
        known = self._known[:-1]
        found = self._checkpoints_from(known)
        if known and (
            len(found.points) == len(known) or found.points[len(known)].id != self._known[-1].id
        ):
            found = self._checkpoints_from(())
        self._known = found.points
        return found

    def _checkpoints_from(self, points: tuple[Checkpoint, ...]) -> Checkpoints:
        """With these as the first ones."""
        while True:
            fields = CheckpointsRequest(len(points)).pack()
            reply, data, _ = self._session.request(Opcode.CHECKPOINTS, fields, b"")
            facts = CheckpointsReply.unpack(reply)
            size = Checkpoint.STRUCT.size
            ends = range(size, len(data) + 1, size)
            part = tuple(Checkpoint.unpack(data, end - size) for end in ends)
            points += part
            if not part or len(points) >= facts.total:
                return Checkpoints(points, facts.used, facts.room)

    def make_checkpoint(self) -> Checkpoint:
        """Makes the present position one."""
        return Checkpoint.unpack(self._session.request(Opcode.CHECKPOINT, b"", b"")[0])

    def keep(self) -> KeepCheckpointsReply:
        """With the guest at the last checkpoint: where the machine's memory has all of them."""
        return KeepCheckpointsReply.unpack(
            self._session.request(Opcode.KEEP_CHECKPOINTS, b"", b"")[0]
        )

    def restore(self, number: int) -> Status:
        """Goes back to a checkpoint: the later ones are gone."""
        return self._run_control(Opcode.RESTORE, RestoreRequest(number).pack())

    def run_to(
        self,
        at: Position,
        flags: int = _EXACT,
        look_back: LookBack = LookBack.NONE,
        steps_from: int = 0,
    ) -> Status:
        """Lets the guest run to a position. Returns the status then, for wait_for_stop().

        `flags` says what of the position counts, `look_back` what last_hit() is to tell, for STEPS
        from so many branches on.
        """
        fields = RunToRequest(at, flags, look_back, steps_from).pack()
        return self._run_control(Opcode.RUN_TO, fields)

    def last_hit(self) -> LastHitReply:
        """What the last run_to() with a look back has met."""
        return LastHitReply.unpack(self._session.request(Opcode.LAST_HIT, b"", b"")[0])

    def page_changes(self, gpa: int) -> frozenset[int]:
        """The numbers of the checkpoints between which and the next one the page was written."""
        fields = PageChangesRequest(gpa).pack()
        data = self._session.request(Opcode.PAGE_CHANGES, fields, b"")[1]
        return frozenset(number for (number,) in struct.iter_unpack("<I", data))
