"""Checkpoints that outlive a replay: the next one resumes from the last of them."""

import re
from pathlib import Path

from tests.emulated.gdb_run import debugged
from tests.emulated.machine import record_tiny

_POSITION = re.compile(r"position (\S+)")
_LOOK_BACK = ("monitor when", "reverse-stepi", "monitor when", "monitor seek begin", "monitor when")


def _look_back(recording: Path, output: Path) -> tuple[list[str], str]:
    """The positions that gdb sees from the end on backwards, and what lvmm says."""
    with debugged(output, "replay", recording, "--from-end", "--no-wait") as run:
        positions = _POSITION.findall(run.gdb("timer", *_LOOK_BACK, "detach"))
        assert run.ended() == 0, run.said
    assert "the replay is identical" in output.with_suffix(".out").read_text()
    return positions, run.said


def test_the_next_replay_resumes(tmp_path: Path) -> None:
    recording = record_tiny("timer", tmp_path / "recording")
    memory = recording / "checkpoints" / "memory.zst"
    first, said = _look_back(recording, tmp_path / "first")
    assert len(set(first)) == 3
    assert first[2].startswith("0:0:")
    assert "checkpoints are kept" in said
    kept = memory.read_bytes()

    again, said = _look_back(recording, tmp_path / "again")
    assert again == first
    assert "checkpoints are kept" not in said
    assert memory.read_bytes() == kept

    memory.write_bytes(kept[: len(kept) // 2])
    damaged, said = _look_back(recording, tmp_path / "damaged")
    assert damaged == first
    assert "is damaged" in said
    assert "checkpoints are kept" in said
