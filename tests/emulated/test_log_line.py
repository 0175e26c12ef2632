"""The log over the debug link, from a machine whose guest has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.emulated.machine import BOARD, tiny, wait_for
from tests.emulated.relay import Relay

from lvmm import session
from lvmm.emulator import Emulator
from lvmm.guest_build import ROOT
from lvmm.logs import Recording

EXTRACT = ROOT / "tools" / "extract_log.py"


def extract(source: object, output: Path, cache: Path) -> str:
    """Runs the tool; returns what it says."""
    done = subprocess.run(
        [sys.executable, str(EXTRACT), "extract", str(source), "-o", str(output)],
        env={"PATH": "/usr/bin:/bin", "LVMM_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_log_is_the_same_as_in_memory(tmp_path: Path) -> None:
    image = tmp_path / "boot.iso"
    session.monitor_image(BOARD, tiny("timer"), "record", image)
    with Emulator(BOARD, iso=image, run_dir=tmp_path / "run") as emulator:
        relay = Relay(emulator.monitor)
        try:
            wait_for(lambda: b'"lvmm":"halted"' in relay.text, 120, "the end of the guest")
            extract(relay.address, tmp_path / "line", tmp_path / "cache")
            said = extract(relay.address, tmp_path / "again", tmp_path / "cache")
        finally:
            relay.close()
    assert "are here from before" in said
    extract(tmp_path / "run" / "ram.img", tmp_path / "memory", tmp_path / "cache")
    extract(tmp_path / "memory", tmp_path / "directory", tmp_path / "cache")
    for name in ("log.lvmm", "console.log"):
        in_memory = (tmp_path / "memory" / name).read_bytes()
        assert (tmp_path / "line" / name).read_bytes() == in_memory
        assert (tmp_path / "again" / name).read_bytes() == in_memory
        assert (tmp_path / "directory" / name).read_bytes() == in_memory
    with Recording.open(tmp_path / "line") as recording:
        assert recording.end() is not None
