"""What going back in a replay takes, at the end of a recording."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvmm import recording_dir, session
from lvmm.bench.results import Metric, Row, Section
from lvmm.board import Board
from lvmm.debug.target import LinkTarget
from lvmm.emulator import Emulator
from lvmm.errors import MachineError
from lvmm.gdb.target import BreakpointKind, Stop, StopReason
from lvmm.guest import Guest
from lvmm.guest_build import tiny_guest
from lvmm.link import LinkClient, SocketStream, Timing
from lvmm.messages import say
from lvmm.replaying import CHECKPOINT_BRANCHES, with_room_for_checkpoints

MEMORY_MIB = 16
STEPS = 5
# Nothing is there, in physical memory or in the guest's code.
NOWHERE = 0x00E0_0000

_TIMING = Timing(retry=60, give_up=600)
_POLL_S = 0.5

METRICS = (
    Metric("wall_ms", "ms of this computer"),
    Metric("guest_instructions", "guest instructions"),
)

NOTES = (
    "Guest instructions: those that are executed again; the recording has {instructions:,}, with a "
    "checkpoint for {spacing:,}\nconditional branches.",
    "The first step back goes there from the last checkpoint, and makes another shortly before.",
    "Nothing is met on the way back to the beginning. With a watchpoint alone, the pages that were "
    "saved tell that.",
)


@dataclass
class _Replay:
    """A replay that is stopped before the guest's first instruction."""

    emulator: Emulator
    target: LinkTarget

    def run(self, start: Callable[[], None]) -> Stop:
        """To the end of what this starts. Raises TargetError."""
        start()
        while (stop := self.target.poll_stop(_POLL_S)) is None:
            pass
        return stop

    def sample(self, start: Callable[[], None], wanted: StopReason) -> Mapping[str, float]:
        """What that takes. Raises MachineError where it ends in another way."""
        before, begin = self.emulator.stats().guest_instructions, time.monotonic()
        stop = self.run(start)
        wall = time.monotonic() - begin
        if stop.reason is not wanted:
            raise MachineError(f"going back ended with: {stop.reason.value} {stop.text}")
        instructions = self.emulator.stats().guest_instructions - before
        return {"wall_ms": wall * 1000, "guest_instructions": instructions}


@contextmanager
def _replay(board: Board, directory: Path, scratch: Path) -> Iterator[_Replay]:
    board = with_room_for_checkpoints(board)
    guest = recording_dir.recorded_guest(directory, recording_dir.read_manifest(directory))
    image = scratch / "replay.iso"
    words = {"wait": "1", "checkpoints": str(CHECKPOINT_BRANCHES)}
    log = directory / recording_dir.LOG
    session.monitor_image(board, guest, "replay", image, log=log, words=words)
    with Emulator(board, iso=image, run_dir=scratch / "replay") as emulator:
        stream = SocketStream(emulator.monitor)
        with LinkClient(lambda: stream, timing=_TIMING) as link:
            yield _Replay(emulator, LinkTarget(link))


def measure(board: Board, quick: bool) -> Section:
    """Steps back at the end of a long run, and the way back to its beginning."""
    guest = Guest("multiboot", tiny_guest("timer" if quick else "long"), "", MEMORY_MIB)
    with tempfile.TemporaryDirectory(prefix="lvmm-bench-") as folder:
        scratch = Path(folder)
        say("time travel: recording a guest")
        settings = session.RunSettings(seed=1)
        manifest = session.record(board, guest, settings, scratch / "recording")
        with _replay(board, scratch / "recording", scratch) as replay:
            target = replay.target
            say("time travel: replaying it to its end")
            begin = replay.emulator.stats().guest_instructions
            replay.run(target.resume)
            instructions = replay.emulator.stats().guest_instructions - begin

            def step() -> None:
                target.reverse(step=True)

            def on() -> None:
                target.reverse(step=False)

            say("time travel: going back")
            rows = [Row("step back, the first", [replay.sample(step, StopReason.STEP)])]
            steps = [replay.sample(step, StopReason.STEP) for _ in range(STEPS)]
            rows.append(Row("step back, the next", steps))
            for what, kind in (
                ("all the way back, a breakpoint", BreakpointKind.HARDWARE),
                ("all the way back, a watchpoint", BreakpointKind.WRITE),
            ):
                replay.run(lambda: target.seek("end"))
                target.set_breakpoint(kind, NOWHERE, 1)
                rows.append(Row(what, [replay.sample(on, StopReason.START_OF_LOG)]))
                target.clear_breakpoint(kind, NOWHERE, 1)
    notes = (NOTES[0].format(instructions=instructions, spacing=CHECKPOINT_BRANCHES), *NOTES[1:])
    title = f"Time travel: at the end of {manifest.branches:,} conditional branches"
    return Section("time-travel", title, METRICS, rows, notes)
