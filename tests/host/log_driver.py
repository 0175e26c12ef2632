"""Runs the monitor's log writer and reader (tests/host/c/log_driver.c)."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.host import cbuild

from lvmm.logs.codec import Event, Place, Registers
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import (
    PAYLOADS,
    CpuidEntry,
    DmaDirection,
    DmaStream,
    E820Entry,
    EventKind,
    GuestKind,
    Image,
    ImageRole,
    Machine,
    MachineFlag,
    StreamContent,
)

SOURCES = (
    "tests/host/c/log_driver.c",
    "hypervisor/replay/log_codec.c",
    "hypervisor/replay/log_position.c",
    "hypervisor/replay/log_predict.c",
    "hypervisor/replay/log_token.c",
    "hypervisor/replay/log_region.c",
    "hypervisor/replay/log_remains.c",
    "hypervisor/replay/log_writer.c",
    "hypervisor/replay/log_reader.c",
    "hypervisor/lib/crc32c.c",
)
OK, ERR_INVALID, ERR_TRUNCATED, ERR_NO_SPACE = 0, -1, -2, -4
ERR_CHECKSUM, ERR_VERSION, ERR_END = -6, -7, -8
RECORDING_ID = 0x1122334455667788
REGION_SIZE = 1 << 20


def dma_stream(ring: str, stream: int, content: int, direction: int, **fields: int) -> DmaStream:
    """A stream of an e1000 at 00:03.0; fields that are not given are 0."""
    values: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(DmaStream)}
    values |= {"pci_address": 0x18, "vendor": 0x8086, "device": 0x100E}
    values |= {"stream": stream, "content": content, "direction": direction, **fields}
    values["profile"] = tuple(b"e1000".ljust(16, b"\0"))
    values["ring"] = tuple(ring.encode().ljust(16, b"\0"))
    return DmaStream(**values)


# What the driver writes as recording header.
HEADER = RecordingHeader(
    Machine(
        guest_memory_bytes=256 << 20,
        tsc_hz=50_000_000,
        cpu_family=6,
        cpu_model=0x55,
        cpu_stepping=4,
        counter_event=0x5101C4,
        flags=MachineFlag.UNSOUND,
        guest_kind=GuestKind.LINUX,
        start_time=1_800_000_000,
        start_tsc=987_654_400,
    ),
    "lvmm 0.1",
    "bochs-vtx",
    "A brand",
    "console=ttyS0 quiet",
    [Image(1234567, ImageRole.KERNEL, 0xDEADBEEF), Image(765, ImageRole.INITRD, 0x12345678)],
    [CpuidEntry(1, 0, 2, 3, 4, 5), CpuidEntry(7, 1, 8, 9, 10, 11)],
    [E820Entry(0, 0x9FC00, 1, 0), E820Entry(0x100000, 0xFF00000, 1, 0)],
    [dma_stream("rx", 1, StreamContent.DESCRIPTORS, DmaDirection.RX, descriptor_size=16)],
)

# Likewise, in a ring.
RING_HEADER = replace(
    HEADER,
    machine=replace(HEADER.machine, flags=MachineFlag.UNSOUND | MachineFlag.OVERWRITES),
)

_REQUEST = struct.Struct("<7BxIIQ18Q5Q")
_OP_EVENT, _OP_FLUSH, _OP_CONSOLE, _OP_SEAL, _OP_HEADER, _OP_TAKE = range(6)
_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Written:
    """An event to be written: `registers` are given to the writer unless same_position.

    `checked`: with a check; `placed`: with the place, where the event may have one.
    """

    event: Event
    registers: Registers
    out_crc: int = 0
    checked: bool = True
    placed: bool = False

    @property
    def expected(self) -> Event:
        """What must be read back, but for position and index of a same_position event."""
        if self.event.same_position:
            return replace(self.event, check=None, registers=None)
        full = self.event.registers is not None
        if not self.checked and not full:
            return self.event
        place = None
        if self.placed and self.event.asynchronous and not full:
            resume = bool(self.registers.rflags >> 16 & 1)
            place = Place(resume, self.registers.gpr[1])
        return replace(self.event, check=self.registers.check(self.out_crc), place=place)


def event_request(written: Written) -> bytes:
    """The request to write an event."""
    event, expected = written.event, written.expected
    values, data = payload_values(event)
    registers = written.registers
    return _request(
        _OP_EVENT,
        kind=event.kind,
        flags=(
            *(event.asynchronous, event.same_position, event.registers is not None),
            *(expected.check is not None, expected.place is not None),
        ),
        out_crc=written.out_crc,
        branches=event.branches,
        registers=(*registers.gpr, registers.rip, registers.rflags),
        values=values,
        data=data,
    )


def flush_request() -> bytes:
    """The request to close the open chunk."""
    return _request(_OP_FLUSH)


def console_request(data: bytes) -> bytes:
    """The request to put out console bytes."""
    return _request(_OP_CONSOLE, data=data)


def seal_request(state: int) -> bytes:
    """The request to end the recording."""
    return _request(_OP_SEAL, kind=state)


def take_request(left: int = 0) -> bytes:
    """The request of a tool that has stored all completed chunks but for the last `left` bytes."""
    return _request(_OP_TAKE, values=[left])


def header_request() -> bytes:
    """The request to write HEADER."""
    return _request(_OP_HEADER)


def _request(
    operation: int,
    kind: int = 0,
    flags: tuple[bool, ...] = (False,) * 5,
    out_crc: int = 0,
    branches: int = 0,
    registers: Sequence[int] = (0,) * 18,
    values: Sequence[int] = (),
    data: bytes = b"",
) -> bytes:
    padded = (*values, 0, 0, 0, 0, 0)[:5]
    head = _REQUEST.pack(operation, kind, *flags, out_crc, len(data), branches, *registers, *padded)
    return head + data


def payload_values(event: Event) -> tuple[list[int], bytes]:
    """The payload's numbers in order, and its data."""
    values, data = [], b""
    for field in dataclasses.fields(event.payload):
        value = getattr(event.payload, field.name)
        if isinstance(value, bytes):
            data = value
        else:
            values.append(value)
    return values, data


def write(
    requests: Iterable[bytes], region: Path, size: int = REGION_SIZE, how: str = "write"
) -> tuple[list[int], bytes]:
    """Apply the requests to a region (or "ring"); returns their results and the region's bytes."""
    program = cbuild.build("log_driver", SOURCES)
    result = subprocess.run(
        [str(program), how, str(region), str(size)],
        input=b"".join(requests),
        capture_output=True,
        check=False,
        timeout=_TIMEOUT,
    )
    assert result.returncode == 0, result.stderr.decode()
    codes = [int(line) for line in result.stdout.split()]
    assert codes[:2] == [OK, OK], "formatting failed"
    return codes[2:], region.read_bytes()


@dataclass(frozen=True)
class FoundLog:
    """What the monitor finds in memory at its start."""

    format_version: int
    recording_id: int
    events: int
    bytes: int
    taken: bool
    damaged: bool


def found_log(region: bytes, folder: Path) -> FoundLog | None:
    """The log that the monitor finds in a region; None: it would write there."""
    path = folder / "memory"
    path.write_bytes(region)
    program = cbuild.build("log_driver", SOURCES)
    result = subprocess.run(
        [str(program), "find", str(path)], capture_output=True, check=False, timeout=_TIMEOUT
    )
    assert result.returncode == 0, result.stderr.decode()
    holds, version, recording_id, events, size, taken, damaged = map(int, result.stdout.split())
    found = FoundLog(version, recording_id, events, size, bool(taken), bool(damaged))
    return found if holds else None


@dataclass
class ReadResult:
    """What the monitor's reader made of a log; `end` is None when opening failed."""

    opened: int
    header: list[bytes]
    events: list[Event]
    end: int | None = None


def read(logs: Iterable[bytes]) -> list[ReadResult]:
    """Read logs; any error that a sanitizer finds fails the test."""
    program = cbuild.build("log_driver", SOURCES)
    framed = b"".join(len(log).to_bytes(4, "little") + log for log in logs)
    result = subprocess.run(
        [str(program), "read"], input=framed, capture_output=True, check=False, timeout=_TIMEOUT
    )
    assert result.returncode == 0, result.stderr.decode()
    results: list[ReadResult] = []
    for line in result.stdout.decode().splitlines():
        word, _, rest = line.partition(" ")
        if word == "open":
            results.append(ReadResult(int(rest), [], []))
        elif word == "header":
            results[-1].header = [bytes.fromhex(part) for part in rest.split(" ")]
        elif word == "event":
            results[-1].events.append(_parse_event(rest))
        else:
            results[-1].end = int(rest)
    return results


def _parse_event(line: str) -> Event:
    before, _, rest = line.partition(" [")
    data_text, _, after = rest.partition("]")
    index, name, asynchronous, same, branch_text, rip_text, check, found, *numbers = before.split()
    branches, rip = int(branch_text, 16), int(rip_text, 16)
    values = [int(number, 16) for number in numbers]
    payload_type = PAYLOADS[EventKind[name]]
    arguments: list[int | bytes] = []
    for field in dataclasses.fields(payload_type):
        arguments.append(bytes.fromhex(data_text) if field.type == "bytes" else values.pop(0))
    registers = None
    if after:
        *gpr, rflags = (int(number, 16) for number in after.split())
        registers = Registers(tuple(gpr), rip, rflags)
    place = None
    if found != "-":
        resume, _, rcx = found.partition(",")
        place = Place(resume == "1", int(rcx, 16))
    return Event(
        payload_type(*arguments),  # type: ignore[arg-type]
        branches,
        rip,
        asynchronous == "1",
        same == "1",
        None if check == "-" else int(check, 16),
        registers,
        place,
        int(index),
    )
