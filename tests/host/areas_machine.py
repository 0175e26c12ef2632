"""The machines of tests/host/c/dma_areas_driver.c: areas that a driver declares."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.host.dma_world import World, build_driver

TO_DEVICE, FROM_DEVICE, BOTH, SHARED = 1, 2, 3, 4
SHADOW_PHYS = 0x4030_0000
SHADOW_SIZE = 0x40000
ERR_FAULT = -5

_ARGUMENTS = struct.Struct("<QQII")


def build_areas_machine() -> Path:
    """Build the C driver; return the program."""
    return build_driver("dma_areas_driver", ("dma_areas_driver.c",))


@dataclass
class Area:
    """One that is mapped."""

    owner: int
    gpa: int
    length: int
    kind: int
    address: int  # for the device


class AreasCounters(NamedTuple):
    """struct world_counters."""

    ram_writes: int
    stray_writes: int
    stray_reads: int
    ram_reads: int
    emitted_bytes: int


class AreasMachine(World):
    """A driver's calls and what its device does, in the direct and the recorded machine."""

    def __init__(self, program: Path, shadow_size: int = SHADOW_SIZE) -> None:
        super().__init__(program)
        assert self._ask("I", gpa=SHADOW_PHYS, length=shadow_size)[0] == 0

    def _ask(
        self,
        op: str,
        address: int = 0,
        *,
        gpa: int = 0,
        length: int = 0,
        owner: int = 0,
        kind: int = 0,
        data: bytes = b"",
    ) -> tuple[int, int, bytes]:
        arguments = _ARGUMENTS.pack(gpa, length, owner, kind)
        reply = self.call(op, value=address, payload=arguments + data)
        return reply.status, reply.a, reply.payload

    def start(self, phys: int, size: int) -> int:
        """Begin anew: dma_areas_device_init."""
        return self._ask("I", gpa=phys, length=size)[0]

    def map(self, gpa: int, length: int, kind: int, owner: int = 1) -> Area | int:
        """dma_area_map: the area, or the error."""
        status, address, _ = self._ask("p", gpa=gpa, length=length, kind=kind, owner=owner)
        return status if status < 0 else Area(owner, gpa, length, kind, address)

    def unmap(self, address: int, owner: int = 1) -> int:
        return self._ask("u", address, owner=owner)[0]

    def sync_for_cpu(self, address: int, length: int, owner: int = 1) -> int:
        return self._ask("y", address, length=length, owner=owner)[0]

    def sync_for_device(self, address: int, length: int, owner: int = 1) -> int:
        return self._ask("z", address, length=length, owner=owner)[0]

    def release(self, owner: int) -> None:
        self._ask("x", owner=owner)

    def device_writes(self, area: Area, at: int, data: bytes) -> None:
        """The device writes into its area."""
        place = {"gpa": area.gpa + at, "length": len(data)}
        self._ask("W", area.address + at, **place, data=data)

    def device_writes_late(self, area: Area, data: bytes, looks: int) -> None:
        """It will write to its area, and beyond, when the engine has looked at so many pages."""
        self._ask("L", area.address, kind=looks, data=data)

    def device_reads(self, area: Area, at: int, length: int) -> tuple[bytes, bytes]:
        """What it reads there: in the recorded machine, in the direct one."""
        data = self._ask("R", area.address + at, gpa=area.gpa + at, length=length)[2]
        return data[:length], data[length:]

    def counters(self) -> AreasCounters:
        return AreasCounters._make(struct.unpack("<5Q", self._ask("s")[2]))
