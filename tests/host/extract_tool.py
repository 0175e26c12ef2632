"""tools/extract_log.py run in this process, and logs, regions and images for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from tests.host import cbuild
from tests.host.log_cases import python_writer
from tests.host.log_driver import RECORDING_ID, Written

from lvmm.logs import layout
from lvmm.logs.chunks import chunk_crc
from lvmm.logs.codec import Event, Registers
from lvmm.logs.layout import ChunkHeader
from lvmm.logs.writer import LogWriter, build_region

TOOL = cbuild.ROOT / "tools" / "extract_log.py"
MIB = 1 << 20
REGION_SIZE = 256 * 1024
CONSOLE = b"Linux version 6.1\r\n\xff\x00binary\n"
CHUNK_MAGIC = b"LVCK"
COMPLETE, ENVIRONMENT, USAGE, LOSS, NO_LOG, VERSION = range(6)

Outcome = tuple[int, str, str]
Tool = Callable[..., Outcome]


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("extract_log", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tool(capfd: pytest.CaptureFixture[str]) -> Tool:
    """Run the tool in this process; gives exit code, stdout and stderr."""
    main = load_tool().main

    def run(*arguments: str | Path) -> Outcome:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        return code, out, err

    return run


def some_events(count: int = 30) -> list[Written]:
    """A plausible mixture of events, ending with END."""
    written: list[Written] = []
    for index in range(count):
        registers = Registers((index,) * 16, 0xFFFFFFFF81000000 + index % 5 * 64, 0x246)
        payloads: list[layout.Payload] = [
            layout.Rdtsc(1000 * index),
            layout.In(0x3FD, 1, 0x60),
            layout.Interrupt(0x31),
            layout.Dma(1, 0x10000 + 64 * index, bytes([index % 256]) * 64),
        ]
        payload = payloads[index % 4]
        same = isinstance(payload, layout.Dma)
        event = Event(
            payload,
            10 * (index - same),
            written[-1].event.rip if same else registers.rip,
            asynchronous=isinstance(payload, layout.Interrupt),
            same_position=same,
            registers=registers if isinstance(payload, layout.Interrupt) else None,
        )
        written.append(Written(event, registers))
    last = written[-1].registers
    state = bytes(layout.FinalState.STRUCT.size)
    end = Event(layout.End(layout.EndReason.POWER_OFF, state), 10 * count, last.rip)
    return [*written, Written(end, last)]


EVENTS = some_events()


def log_of(recording_id: int = RECORDING_ID, flush_every: int = 10) -> LogWriter:
    return python_writer(EVENTS, flush_every, recording_id)


def region_of(recording_id: int = RECORDING_ID) -> bytes:
    return build_region(log_of(recording_id), REGION_SIZE, CONSOLE)


def image_with(path: Path, regions: dict[int, bytes], size: int = 1344 * MIB) -> Path:
    """A sparse image of memory with the regions at their offsets."""
    with path.open("wb") as file:
        for base, region in regions.items():
            file.seek(base)
            file.write(region)
        file.truncate(size)
    return path


def chunk_offsets(data: bytes) -> list[int]:
    """Where the chunks of a log begin."""
    offsets = []
    at = 0
    while at < len(data):
        offsets.append(at)
        size = ChunkHeader.STRUCT.size + ChunkHeader.unpack(data, at).payload_len
        at += size + -size % 8
    return offsets


def of_version(log: bytes, version: int) -> bytes:
    """The log with another format version in each chunk."""
    out = bytearray(log)
    for at in chunk_offsets(log):
        out[at + 4 : at + 6] = version.to_bytes(2, "little")
        header = ChunkHeader.unpack(bytes(out), at)
        payload = bytes(out[at + ChunkHeader.STRUCT.size :][: header.payload_len])
        out[at + 52 : at + 56] = chunk_crc(header, payload).to_bytes(4, "little")
    return bytes(out)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def one_line(outcome: Outcome) -> int:
    """The exit code of an outcome whose message is one line, without traceback."""
    code, out, err = outcome
    assert out == ""
    assert len(err.splitlines()) == 1 and "Traceback" not in err
    return code
