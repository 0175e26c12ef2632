"""gdb at Debian's kernel, live; test_linux.py has it at a recording and at a replay."""

import shutil
from pathlib import Path

import pytest
from tests.emulated.linux_gdb import debug_while_it_receives

from lvmm.netpeer import Traffic

PACKETS = 50

pytestmark = [
    pytest.mark.deadline(1800),
    pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb"),
]


def test_live_under_gdb(tmp_path: Path) -> None:
    settings = "lvmm.race=600000 lvmm.end=poweroff"
    peer = debug_while_it_receives(tmp_path / "live", ["live"], settings, PACKETS, Traffic(seed=77))
    assert not peer.errors
    assert peer.complete
    digest = f"lvmm: digest {peer.digest} packets {PACKETS} "
    assert digest in (tmp_path / "live.out").read_text(errors="replace")
