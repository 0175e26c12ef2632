"""The world of tests/host/c/dma_world.c: a direct, a recorded and a replayed machine."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from tests.host.cbuild import OUTPUT, ROOT, build

from lvmm.profile_compiler import compile_files

RAM_SIZE = 0x200000
HOLE = range(0xA0000, 0xC0000)

ERR_INVALID, ERR_UNSUPPORTED, ERR_NO_SPACE = -1, -3, -4

TOY_PROFILE = """
name = "toy"
vendor = 0x1234
devices = [0x0001]
bar = 0
register_size = 0x20000
reset = { register = 0x8, mask = 0x1 }

[[ring]]
name = "rx"
direction = "rx"
base_lo = 0x40
base_hi = 0x44
length = 0x48
head = 0x50
tail = 0x58
base_align = 16
length_mask = 0xfff80
max_count = 128
enable = { register = 0x10, mask = 0x100 }
descriptor_size = 32
address = { offset = 4, width = 4 }
payload_length = { offset = 16, width = 4 }
done = { offset = 31, mask = 0x80 }
end_of_packet = { offset = 31, mask = 0x40 }
write_back = { offset = 0, width = 32 }

[ring.buffer_size]
register = 0x10
mask = 0x1
sizes = [{ value = 0, bytes = 128 }, { value = 1, bytes = 512 }]
"""


def engine_sources() -> tuple[str, ...]:
    """The engine's C files, with the table of the project's profiles and the toy's."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    toy = OUTPUT / "toy.toml"
    toy.write_text(TOY_PROFILE)
    profiles = sorted((ROOT / "boards" / "profiles").glob("*.toml"))
    text = compile_files([toy, *profiles])
    table = OUTPUT / "dma_profiles.c"
    if not table.exists() or table.read_text() != text:
        table.write_text(text)
    engine = sorted((ROOT / "hypervisor" / "dma").glob("*.c"))
    return tuple(str(path.relative_to(ROOT)) for path in (*engine, table))


def build_driver(name: str, model: tuple[str, ...]) -> Path:
    """Build a C driver with the engine; return the program.

    `model` names the C files beside the engine's, in tests/host/c/.
    """
    files = ("dma_world.c", *model)
    return build(name, (*(f"tests/host/c/{file}" for file in files), *engine_sources()))


class Reply(NamedTuple):
    """struct reply with its payload."""

    status: int
    a: int
    b: int
    payload: bytes


class Record(NamedTuple):
    """One emitted DMA write, or a buffer that the device owns."""

    stream: int
    length: int
    gpa: int


TOLD_WRITE, TOLD_SENT = range(2)


class Told(NamedTuple):
    """Something that the engine told."""

    kind: int
    stream: int
    flags: int
    length: int
    gpa: int
    data: bytes


_REQUEST = struct.Struct("<BBHIQI")
_REPLY = struct.Struct("<qQQI")
_ENTRY = struct.Struct("<BBBxIIQ")
_RECORD = struct.Struct("<IIQ")
_OWNED = struct.Struct("<QII")


class Reached(Protocol):
    """Of struct world_counters, what the recorded machine's device reached by itself."""

    @property
    def ram_writes(self) -> int: ...
    @property
    def stray_writes(self) -> int: ...
    @property
    def stray_reads(self) -> int: ...
    @property
    def ram_reads(self) -> int: ...


class World:
    """The direct, the recorded and the replayed machine, side by side."""

    reads_in_place: ClassVar[bool] = False  # the device may read RAM that the guest sees

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def close(self) -> None:
        """End the program; fail when a sanitizer complained."""
        _, errors = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, errors.decode()

    def call(
        self,
        op: str,
        *,
        size: int = 0,
        port: int = 0,
        reg: int = 0,
        value: int = 0,
        payload: bytes = b"",
    ) -> Reply:
        assert self._process.stdin and self._process.stdout and self._process.stderr
        request = _REQUEST.pack(ord(op), size, port, reg, value, len(payload))
        try:
            self._process.stdin.write(request + payload)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(self._process.stderr.read().decode()) from None
        header = self._process.stdout.read(_REPLY.size)
        if len(header) < _REPLY.size:
            raise AssertionError(self._process.stderr.read().decode())
        status, a, b, length = _REPLY.unpack(header)
        return Reply(status, a, b, self._process.stdout.read(length))

    def store(self, gpa: int, data: bytes) -> None:
        """Let the guest's CPU write memory."""
        self.call("m", value=gpa, payload=data)

    def load(self, gpa: int, length: int) -> bytes:
        """Read memory of the recorded machine."""
        return self.call("g", value=gpa, reg=length).payload

    def harvest(self) -> int:
        """dma_harvest."""
        return self.call("h").status

    def outstanding(self) -> bool:
        """dma_outstanding."""
        return bool(self.call("o").status)

    def error(self) -> str:
        """dma_take_error; empty when there is none."""
        return self.call("e").payload.decode()

    def owned(self) -> list[Record]:
        """The buffers that the device owns, as the engine says, by their addresses."""
        payload = self.call("O").payload
        found = [Record(stream, size, gpa) for gpa, stream, size in _OWNED.iter_unpack(payload)]
        return sorted(found, key=lambda buffer: buffer.gpa)

    def records(self) -> list[Record]:
        """What was emitted since the last call."""
        payload = self.call("l").payload
        return [Record._make(fields) for fields in _RECORD.iter_unpack(payload)]

    def told(self) -> list[Told]:
        """What the engine told since the last call."""
        payload = self.call("j").payload
        told = []
        at = 0
        while at < len(payload):
            kind, stream, flags, length, kept, gpa = _ENTRY.unpack_from(payload, at)
            at += _ENTRY.size
            told.append(Told(kind, stream, flags, length, gpa, payload[at : at + kept]))
            at += kept
        return told

    def differences(self) -> tuple[int | None, int | None]:
        """Where the recorded memory differs from the direct one, and the replayed from it."""
        reply = self.call("c")
        return _address(reply.a), _address(reply.b)

    def counters(self) -> Reached:
        """Numbers since start(): those of the machine, and these."""
        raise NotImplementedError

    def assert_replay_matches(self) -> None:
        """The log alone gives the recorded memory; the device wrote no RAM by itself, and read none
        but where it may.
        """
        _, difference = self.differences()
        assert difference is None, f"replay differs at {difference:#x}"
        counters = self.counters()
        assert counters.ram_writes == 0
        assert self.reads_in_place or counters.ram_reads == 0
        assert counters.stray_writes == 0
        assert counters.stray_reads == 0

    def assert_same(self) -> None:
        """The guest sees what it would without the engine."""
        difference, _ = self.differences()
        assert difference is None, f"recorded differs from direct at {difference:#x}"
        self.assert_replay_matches()


def _address(value: int) -> int | None:
    return None if value == 2**64 - 1 else value


class DiskCounters(NamedTuple):
    """struct world_counters, digests of what each drive was given, and struct dma_stats."""

    ram_writes: int
    stray_writes: int
    stray_reads: int
    ram_reads: int
    emitted_bytes: int
    direct_digests: tuple[int, ...]
    recorded_digests: tuple[int, ...]
    doorbells: int
    completed: int
    rx_packets: int
    rx_bytes: int
    tx_bytes: int
    guest_faults: int
    clamped_lengths: int
    refused_writes: int


_WORLD_COUNTERS = 5


class DiskWorld(World):
    """The three machines with controllers of `drives` disks each."""

    drives: ClassVar[int]

    def counters(self) -> DiskCounters:
        """Numbers since start()."""
        payload = self.call("s").payload
        values = struct.unpack(f"<{len(payload) // 8}Q", payload)
        direct = _WORLD_COUNTERS + self.drives
        recorded = direct + self.drives
        digests = values[_WORLD_COUNTERS:direct], values[direct:recorded]
        return DiskCounters(*values[:_WORLD_COUNTERS], *digests, *values[recorded:])

    def assert_same(self) -> None:
        """The guest and the drives see what they would without the engine."""
        super().assert_same()
        counters = self.counters()
        assert counters.direct_digests == counters.recorded_digests
