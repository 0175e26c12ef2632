"""Real gdb at Debian's kernel, with symbols recovered from its memory."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.emulated.gdb_run import debugged
from tests.emulated.machine import BOARD, events_of

from lvmm.demo import record_receiving
from lvmm.linux_modules import in_module_space
from lvmm.netpeer import Traffic
from lvmm.session import RunSettings

DEADLINE_S = 600.0
PACKETS = 40

pytestmark = [
    pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb"),
    pytest.mark.deadline(1800),
]


def test_a_replay_under_gdb_stays_identical(tmp_path: Path) -> None:
    """Breaks in the driver, by name; steps, watches, leaves and comes back."""
    directory = tmp_path / "recording"
    settings = RunSettings(seed=7, timeout_s=DEADLINE_S)
    traffic = Traffic(seed=7, pauses=False)
    record_receiving(BOARD, directory, PACKETS, traffic, settings, "lvmm.race=1000 lvmm.end=halt")
    in_driver = next(
        e.rip for e in events_of(directory) if e.name == "MMIO_READ" and in_module_space(e.rip)
    )
    with debugged(tmp_path / "replay", "replay", directory) as run:
        first = (f"hbreak *{in_driver:#x}", "continue", "monitor symbols", "delete", "disconnect")
        said = run.gdb(None, *first)
        found = re.search(r"symbol-file (\S+)", said)
        assert found, said
        assert "modules: e1000" in said
        said = run.gdb(
            None,
            f"symbol-file {found[1]}",
            "info symbol $pc",
            "break e1000_clean",
            "continue",
            "info symbol $pc",
            "backtrace 3",
            "stepi",
            "stepi",
            "watch *(long *) ($rsp - 64)",
            "continue",
            "delete",
            "print/x $cr3",
            "monitor when",
            "detach",
        )
        assert "in section e1000" in said
        assert re.search(r"Breakpoint 1, 0x[0-9a-f]+ in e1000_clean", said)
        assert "e1000_clean in section e1000" in said
        assert "Old value" in said
        assert run.ended() == 0, run.said
    assert "identical" in (tmp_path / "replay.out").read_text()
