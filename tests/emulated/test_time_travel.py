"""Back and forth in replays of tiny guests: what was seen once is what is seen again."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.emulated.gdb_run import free_tcp_port
from tests.emulated.machine import (
    BOARD,
    REPLAY_TIMEOUT_S,
    TINY_MEMORY_MIB,
    assert_identical,
    record_tiny,
    wait_for,
)

from lvmm import recording_dir, replaying
from lvmm.debug.of_a_run import AttachPort
from lvmm.debug.target import LinkTarget
from lvmm.debug.time_travel.place import position_text
from lvmm.gdb.target import Registers, Stop, StopReason
from lvmm.link import LinkClient, open_stream
from lvmm.replaying import ReplayVerdict
from lvmm.session import RunSettings

STEPS = 3  # in a row, wherever the guest is looked at for the first time
PLACES = 10
MOVES = 100  # in each of two guests

# Digest of memory; registers and FPU where they were read, which takes the line a while. A position
# has a check of the general registers.
State = tuple[str, Registers | None, bytes | None]


@dataclass
class Travelled:
    """A replay that is stopped before its first instruction. `verdict` is there when it is over."""

    link: LinkClient
    target: LinkTarget
    ram: Path
    verdict: ReplayVerdict | None = None

    def ended(self) -> Stop:
        while (stop := self.target.poll_stop(1)) is None:
            pass
        return stop

    def seek(self, place: str) -> Stop:
        self.target.seek(place)
        return self.ended()

    def step(self) -> Stop:
        self.target.step()
        return self.ended()

    def back(self, *, step: bool) -> Stop:
        self.target.reverse(step=step)
        return self.ended()

    def here(self) -> str:
        return position_text(self.link.replay.position().at)

    def state(self, *, whole: bool) -> State:
        with self.ram.open("rb") as memory:
            digest = hashlib.sha256(memory.read(TINY_MEMORY_MIB << 20)).hexdigest()
        if not whole:
            return digest, None, None
        return digest, dict(self.target.registers()), self.target.fpu()


@contextmanager
def travelling(directory: Path, run: Path, checkpoints: int) -> Iterator[Travelled]:
    """A replay with a checkpoint for so many branches; in the end the guest goes on to its own."""
    port = free_tcp_port()
    said: list[str] = []
    settings = RunSettings(
        seed=9,
        timeout_s=REPLAY_TIMEOUT_S,
        attach=AttachPort(port, True, said.append),
        checkpoints=checkpoints,
    )
    verdicts: list[ReplayVerdict] = []

    def replay() -> None:
        verdicts.append(replaying.replay(BOARD, directory, settings, keep_run=run))

    thread = threading.Thread(target=replay, daemon=True)
    thread.start()
    wait_for(lambda: bool(said) or not thread.is_alive(), 120, "the guest")
    with LinkClient(lambda: open_stream(f"localhost:{port}")) as link:
        travelled = Travelled(link, LinkTarget(link), run / "ram.img")
        yield travelled
        link.resume()
    thread.join(REPLAY_TIMEOUT_S)
    assert verdicts, "the replay has failed"
    travelled.verdict = verdicts[0]


@pytest.mark.parametrize(("guest", "checkpoints"), [("timer", 100_000), ("fpu", 5000)])
def test_walking_back_and_forth(guest: str, checkpoints: int, tmp_path: Path) -> None:
    """Some steps each at some places, going forward; then the same places in any order."""
    recording = record_tiny(guest, tmp_path / guest)
    rng = random.Random(guest)
    with travelling(recording, tmp_path / "run", checkpoints) as travelled:
        known: dict[str, State] = {}
        rows = []
        end = recording_dir.read_manifest(recording).branches
        for branches in sorted(rng.sample(range(end), PLACES)):
            travelled.seek(str(branches))
            row = []
            for _ in range(STEPS):
                if travelled.here() in known:
                    break
                row.append(travelled.here())
                known[row[-1]] = travelled.state(whole=len(row) == 1)
                if travelled.step().reason is not StopReason.STEP:
                    break
            rows.append(row)
        for _ in range(MOVES):
            row = rng.choice([row for row in rows if row])
            index = rng.randrange(len(row))
            stop = travelled.seek(row[index])
            assert stop == Stop(StopReason.SOUGHT)
            if index and rng.randrange(2):
                index -= 1
                assert travelled.back(step=True) == Stop(StopReason.STEP)
            elif index + 1 < len(row) and rng.randrange(2):
                index += 1
                assert travelled.step().reason is StopReason.STEP
            assert travelled.here() == row[index]
            assert travelled.state(whole=index == 0) == known[row[index]]
    assert travelled.verdict is not None
    assert_identical(travelled.verdict)
