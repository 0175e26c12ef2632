"""Generated events and logs for the tests of the log."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from tests.host.log_driver import HEADER, RECORDING_ID, Written

from lvmm.logs import layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.writer import LogWriter

U64 = st.one_of(
    st.integers(0, 255), st.integers(0, (1 << 64) - 1), st.sampled_from([(1 << 64) - 1, 1 << 63])
)
U8 = st.integers(0, 255)
_SIZES = st.sampled_from([1, 2, 4, 8])
_ADDRESSES = st.one_of(
    st.sampled_from([0x3F8, 0x3FD, 0xFEE00080, 0xFEBC0008]), st.integers(0, (1 << 56) - 1)
)
_DATA = st.binary(max_size=300)

PAYLOADS: st.SearchStrategy[layout.Payload] = st.one_of(
    st.builds(layout.In, _ADDRESSES, _SIZES, U64),
    st.builds(layout.MmioRead, _ADDRESSES, _SIZES, U64),
    st.builds(layout.Rdmsr, U64, U8, U64),
    st.builds(layout.Rdtsc, U64),
    st.builds(layout.Rdrand, U8, U8, U64),
    st.builds(layout.Rdseed, U8, U8, U64),
    st.builds(layout.Interrupt, U8),
    st.builds(layout.Nmi),
    st.builds(layout.Dma, st.integers(0, 3), U64, _DATA),
    st.builds(layout.FirmwarePage, U64, st.binary(min_size=1, max_size=8).map(lambda b: _page(b))),
    st.builds(layout.Rdpmc, U64, U64),
    st.builds(layout.Mark, _DATA),
    st.builds(layout.End, U8, st.binary(min_size=1, max_size=8).map(lambda b: _state(b))),
    st.builds(layout.Rdtscp, U64),
    st.builds(layout.Sent, U8, U8, U64, _DATA),
    st.builds(layout.Clock, U64.map(lambda tsc: tsc & ~0xFF)),
    st.builds(layout.Time, U64.map(lambda tsc: tsc & ~0xFF)),
    st.builds(layout.Epoch, _DATA),
    st.builds(layout.Begin, _DATA),
    st.builds(layout.RamPage, U64, st.binary(min_size=1, max_size=8).map(lambda b: _page(b))),
    st.builds(layout.Content, st.integers(0, (1 << 32) - 1), U64),
    st.builds(layout.Task, U64, _DATA),
    st.builds(layout.ConsoleLine, U64),
    st.builds(layout.UndoPage, U64, st.sampled_from([b"", bytes(range(256)) * 16])),
    st.builds(layout.InString, U64, U8, _DATA),
    st.builds(layout.Hypercall, U8, U64, U64),
    st.builds(layout.EarlyRead, U8, U8, U64),
    st.builds(layout.Fence, U64, U64, U64, U64, U8),
)
# Few addresses come often, as in real code; 0 and 0xe9 share a slot of the site table.
_RIPS = st.one_of(
    st.sampled_from([0xFFFFFFFF81000000 + 0x1234 * i for i in range(6)]),
    st.sampled_from([0, 0xE9]),
    U64,
)


def _page(seed: bytes) -> bytes:
    return (seed * 4096)[:4096]


def _state(seed: bytes) -> bytes:
    size = layout.FinalState.STRUCT.size
    return (seed * size)[:size]


@st.composite
def repeated_events(draw: st.DrawFn, rounds: int = 24) -> list[Written]:
    """A short motif again and again, with small variations: most events are as predicted."""
    motif = draw(
        st.lists(
            st.tuples(
                PAYLOADS,
                _RIPS,
                st.integers(0, 100),
                st.booleans(),  # asynchronous
                st.integers(0, 9).map(lambda n: n == 0),  # all registers
                st.integers(0, 4).map(lambda n: n == 0),  # at the same position
                st.sampled_from(["", "", "checked", "placed"]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    written: list[Written] = []
    branches = 0
    for number in range(draw(st.integers(2, rounds))):
        varied = draw(st.sampled_from([None, None, *range(len(motif))]))
        for index, (payload, rip, delta, asynchronous, full, same, how) in enumerate(motif):
            if index == varied:
                match draw(st.sampled_from(["branches", "payload", "rip", "flags", "leave out"])):
                    case "branches":
                        delta += 1
                    case "payload":
                        payload = draw(PAYLOADS)
                    case "rip":
                        rip = draw(_RIPS)
                    case "flags":
                        asynchronous, full = draw(st.booleans()), draw(st.booleans())
                    case _:
                        continue
            registers = Registers((number,) * 16, rip, 2 | (number & 1) << 16)
            if same and written:
                last = written[-1]
                event = Event(payload, branches, last.event.rip, asynchronous, same_position=True)
                written.append(Written(event, last.registers))
                continue
            branches += delta
            stored = registers if full else None
            event = Event(payload, branches, rip, asynchronous, registers=stored)
            written.append(Written(event, registers, number, how != "", how == "placed"))
    return written


@st.composite
def mixed_events(draw: st.DrawFn, max_size: int = 40) -> list[Written]:
    """Events one unlike the other."""
    written: list[Written] = []
    branches = rip = 0
    registers = Registers((0,) * 16, 0, 2)
    for payload in draw(st.lists(PAYLOADS, max_size=max_size)):
        asynchronous = draw(st.booleans())
        if draw(st.integers(0, 3)) == 0:
            event = Event(payload, branches, rip, asynchronous, same_position=True)
            written.append(Written(event, registers))
            continue
        branches = min(branches + draw(st.integers(0, 1 << draw(st.integers(0, 40)))), 1 << 62)
        rip = draw(_RIPS)
        gpr = list(registers.gpr)
        for index in draw(st.lists(st.integers(0, 15), max_size=4)):
            gpr[index] = draw(U64)
        registers = Registers(tuple(gpr), rip, draw(st.sampled_from([2, 0x246, 0x10046])))
        full = draw(st.booleans())
        event = Event(payload, branches, rip, asynchronous, registers=registers if full else None)
        out_crc = draw(st.integers(0, (1 << 32) - 1))
        written.append(Written(event, registers, out_crc, draw(st.booleans()), draw(st.booleans())))
    return written


def written_events() -> st.SearchStrategy[list[Written]]:
    """Events as the monitor would write them: branches never go backwards."""
    return st.one_of(mixed_events(), repeated_events())


def numbered(written: list[Written]) -> list[Event]:
    """What must be read back."""
    return [replace(item.expected, index=index) for index, item in enumerate(written)]


def comparable(event: Event) -> Event:
    """The event without its place in the file."""
    return replace(event, offset=0, size=0)


def python_log(written: list[Written], flush_every: int = 0) -> bytes:
    """The log that the Python writer makes of the events."""
    return bytes(python_writer(written, flush_every).data)


def python_writer(
    written: list[Written], flush_every: int = 0, recording_id: int = RECORDING_ID
) -> LogWriter:
    """The Python writer with the events in closed chunks; a chunk ends each `flush_every`."""
    log = LogWriter(recording_id, HEADER)
    for index, item in enumerate(written):
        log.write(item.expected)
        if flush_every and index % flush_every == flush_every - 1:
            log.flush()
    log.flush()
    return log
