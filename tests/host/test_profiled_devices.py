"""How the monitor divides shadow memory and stream numbers among devices with a DMA profile."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import pytest
from tests.host.cbuild import build
from tests.host.dma_world import engine_sources

from lvmm.logs.layout import HINT_STREAMS

pytestmark = pytest.mark.host

MIB = 1 << 20
PAGE = 4096

# VENDOR:DEVICE:CLASS
E1000 = "8086:100e:020000"
IGB = "8086:1533:020000"
IDE = "8086:7010:010180"
AHCI = "8086:a182:010601"
NVME = "144d:a808:010802"
UHCI = "8086:7020:0c0300"
BRIDGE = "8086:1237:060000"
UNKNOWN = "1274:5000:040100"


@dataclass(frozen=True)
class Served:
    """A device of the plan that is set up: pages of shadow memory, and numbers in the log."""

    function: int
    profile: str
    memory: range
    streams: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    rooms: list[tuple[int, str]]  # of each function: bytes, and what it lacks
    served: list[Served]
    used: int


def plan(size: int, *functions: str) -> Plan:
    program = build(
        "profiled_driver",
        (
            "tests/host/c/profiled_driver.c",
            "hypervisor/core/profiled_devices.c",
            *engine_sources(),
        ),
    )
    command = [program, f"{size:x}", *functions]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in text.splitlines()]
    served = [
        Served(
            int(line[1], 16),
            line[2],
            range(int(line[3], 16), int(line[3], 16) + int(line[4], 16)),
            tuple(map(int, line[5:])),
        )
        for line in lines
        if line[0] == "device"
    ]
    rooms = [(int(line[2], 16), line[3]) for line in lines if line[0] == "plan"]
    return Plan(rooms, served, int(lines[-1][1], 16))


def check(found: Plan, size: int) -> None:
    """Nobody has what another one has."""
    numbers = [number for device in found.served for number in device.streams]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= set(range(HINT_STREAMS))
    end = 0
    for device in found.served:
        assert device.memory.start == end
        assert len(device.memory) % PAGE == 0
        end = device.memory.stop
    assert found.used == end < size, "something is left for what drivers declare themselves"


def test_the_reference_board_s_devices_share_what_there_is() -> None:
    found = plan(28 * MIB, BRIDGE, IDE, UHCI, UNKNOWN, E1000)
    check(found, 28 * MIB)
    assert [device.profile for device in found.served] == ["piix_ide", "uhci", "e1000"]
    assert [lacks for _, lacks in found.rooms] == ["-"] * 5
    assert [room == 0 for room, _ in found.rooms] == [True, False, False, True, False]
    assert all(room >= 6 * MIB for room, _ in found.rooms if room)
    assert 28 * MIB - found.used >= 6 * MIB


@pytest.mark.parametrize("size", [64 * MIB, 96 * MIB])
def test_a_server_with_sixteen_devices(size: int) -> None:
    devices = [IGB] * 4 + [NVME] * 3 + [AHCI] * 2 + [E1000] * 5 + [UHCI] * 2
    found = plan(size, BRIDGE, *devices, UNKNOWN)
    check(found, size)
    assert len(found.served) == 16


def test_memory_that_is_used_up_is_told() -> None:
    found = plan(3 * MIB // 2, *[NVME] * 6, UNKNOWN, E1000)
    check(found, 3 * MIB // 2)
    lacks = [lacks for _, lacks in found.rooms]
    served = len(found.served)
    assert 1 < served < 7
    assert "memory" in lacks[:6]
    assert lacks[6] == "-", "it has no profile"
    assert [room == 0 for room, why in found.rooms if why == "memory"] == [True] * (7 - served)


def test_numbers_that_are_used_up_are_told() -> None:
    found = plan(256 * MIB, *[NVME] * 16, E1000)
    check(found, 256 * MIB)
    assert [lacks for _, lacks in found.rooms] == ["-"] * 15 + ["streams"] * 2
    assert sum(len(device.streams) for device in found.served) == HINT_STREAMS


def test_a_region_too_small_for_anything() -> None:
    found = plan(PAGE, E1000)
    assert found.rooms == [(0, "memory")]
    assert found.served == []
