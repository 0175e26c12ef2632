"""A real server: the monitor starts and finds its counter exact.

Set LVMM_HARDWARE_SERIAL to the serial line of the board's monitor (a device, or any URL that
pyserial takes), write a boot image (`./lvmm build ...`) to the board's disk, start the test, and
switch the board on.
"""

import json
import os
import time
from collections.abc import Iterator

import pytest
import serial

LINE = os.environ.get("LVMM_HARDWARE_SERIAL")
START_S = 300.0

pytestmark = pytest.mark.skipif(LINE is None, reason="no board: LVMM_HARDWARE_SERIAL is not set")


def lines(deadline_s: float) -> Iterator[str]:
    """What the monitor says, line by line, until the deadline."""
    end = time.monotonic() + deadline_s
    with serial.serial_for_url(LINE, baudrate=115200, timeout=1) as port:
        while time.monotonic() < end:
            line = port.readline().decode("ascii", "replace").strip()
            if line:
                yield line


def test_monitor_starts_and_its_counter_is_exact() -> None:
    said = []
    for line in lines(START_S):
        said.append(line)
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("lvmm") in ("running", "halted"):
            break
    assert any('"lvmm":"start"' in line for line in said), said
    assert any("counter of conditional branches exact" in line for line in said), said
    assert any('"lvmm":"running"' in line for line in said), said
