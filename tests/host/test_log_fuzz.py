"""The readers against damaged and malicious logs: errors, never a crash or a read outside."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host import log_driver
from tests.host.log_cases import comparable, numbered, python_log, written_events
from tests.host.log_driver import (
    ERR_CHECKSUM,
    ERR_END,
    ERR_INVALID,
    ERR_TRUNCATED,
    ERR_VERSION,
    OK,
    Written,
)

from lvmm.errors import LvmmError
from lvmm.logs import Recording
from lvmm.logs.chunks import chunk_crc
from lvmm.logs.codec import Event, Registers
from lvmm.logs.layout import (
    CHUNK_MAGIC,
    CHUNK_PAYLOAD_MAX,
    FORMAT_VERSION,
    ChunkHeader,
    ChunkKind,
    Nmi,
)

pytestmark = pytest.mark.host

ERRORS = {ERR_INVALID, ERR_TRUNCATED, ERR_CHECKSUM, ERR_VERSION}
HEADER_SIZE = ChunkHeader.STRUCT.size


@st.composite
def mutated(draw: st.DrawFn, source: bytes) -> bytes:
    """The bytes with some changed, left out, doubled or cut off."""
    data = bytearray(source)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["set", "flip", "delete", "double", "cut", "insert"])):
            case "set":
                data[at : at + 1] = bytes([draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))])
            case "flip":
                data[at : at + 1] = bytes(b ^ 1 << draw(st.integers(0, 7)) for b in data[at:][:1])
            case "delete":
                del data[at : at + draw(st.integers(1, 16))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case "cut":
                del data[at:]
            case _:
                data[at:at] = draw(st.binary(min_size=1, max_size=16))
    return bytes(data)


def with_valid_crcs(log: bytes) -> bytes:
    """Chunk headers as they are, but for lengths that fit and the CRC: what a forger would do."""
    out = bytearray(log)
    at = 0
    while at + HEADER_SIZE <= len(out):
        header = ChunkHeader.unpack(bytes(out), at)
        length = min(header.payload_len, CHUNK_PAYLOAD_MAX, len(out) - at - HEADER_SIZE)
        out[at + 44 : at + 48] = length.to_bytes(4, "little")
        header = ChunkHeader.unpack(bytes(out), at)
        payload = bytes(out[at + HEADER_SIZE : at + HEADER_SIZE + length])
        out[at + 52 : at + 56] = chunk_crc(header, payload).to_bytes(4, "little")
        at += (HEADER_SIZE + length + 7) & ~7
    return bytes(out)


def python_read(log: bytes) -> tuple[list[Event], bool]:
    """The events that the tools find, and whether they say that something is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.lvmm"
        path.write_bytes(log)
        try:
            with Recording.open(path) as recording:
                events = [comparable(event) for event in recording.events()]
                wrong = recording.losses or recording.disordered or recording.header is None
                return events, bool(wrong)
        except LvmmError:
            return [], True


@settings(max_examples=30, deadline=None)
@given(written_events(), st.integers(1, 10), st.data())
def test_damage_is_found(written: list[Written], flush_every: int, data: st.DataObject) -> None:
    log = python_log(written, flush_every)
    logs = [data.draw(mutated(log)) for _ in range(10)]
    for damaged, result in zip(logs, log_driver.read(logs), strict=True):
        assert result.opened in {OK, *ERRORS}
        assert result.end in {None, ERR_END, *ERRORS}
        # Whatever is given before the damage is what was written.
        assert result.events == numbered(written)[: len(result.events)]
        events, lost = python_read(damaged)
        assert [event.index for event in events] == sorted(event.index for event in events)
        originals = numbered(written)
        assert all(event == originals[event.index] for event in events)
        if result.opened == OK and result.end != ERR_END:
            assert lost


@settings(max_examples=40, deadline=None)
@given(written_events(), st.integers(1, 20), st.data())
def test_forged_chunks_do_no_harm(
    written: list[Written], flush_every: int, data: st.DataObject
) -> None:
    log = python_log(written, flush_every)
    logs = [with_valid_crcs(data.draw(mutated(log))) for _ in range(20)]
    for forged, result in zip(logs, log_driver.read(logs), strict=True):
        assert result.opened in {OK, *ERRORS}
        assert result.end in {None, ERR_END, *ERRORS}
        if result.opened == OK and result.end == ERR_END:
            events, lost = python_read(forged)
            assert events == result.events
            assert not lost


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=20))
def test_noise_is_no_log(logs: list[bytes]) -> None:
    for result in log_driver.read(logs):
        assert result.opened in ERRORS
    for log in logs:
        assert python_read(log) == ([], True)


def log_with_chunk(payload: bytes, event_count: int) -> bytes:
    """A log whose one chunk of events has this payload."""
    header = ChunkHeader(
        magic=CHUNK_MAGIC,
        format_version=FORMAT_VERSION,
        kind=ChunkKind.EVENTS,
        recording_id=log_driver.RECORDING_ID,
        first_event=0,
        first_branches=0,
        first_rip=0,
        seq=1,
        payload_len=len(payload),
        event_count=event_count,
        crc32c=0,
    )
    return with_valid_crcs(python_log([]) + header.pack() + payload)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=400), min_size=1, max_size=20))
def test_noise_in_a_chunk_is_refused_alike(payloads: list[bytes]) -> None:
    logs = [log_with_chunk(payload, 1 + len(payload) // 8) for payload in payloads]
    for log, result in zip(logs, log_driver.read(logs), strict=True):
        assert result.opened == OK
        events, lost = python_read(log)
        assert events[: len(result.events)] == result.events
        assert lost == (result.end != ERR_END)


def test_a_prediction_needs_what_it_predicts() -> None:
    """NMIs at the position of the event before: each predicts the next by the last one."""
    nmi, again = bytes.fromhex("03 28"), bytes.fromhex("01")
    cases = {
        nmi + nmi + again: 3,
        nmi: 1,  # what follows an NMI is not known yet
        nmi + again: 1,
        nmi + nmi: 3,
        bytes.fromhex("00"): 0,
        bytes.fromhex("23 28"): 0,  # nothing is predicted at first
        nmi + bytes.fromhex("23 28"): 1,  # that one is as predicted, but what is not known yet
        nmi + bytes.fromhex("e3 00 28") + again: 3,  # said at more length: none as predicted
        nmi + bytes.fromhex("e3 84 28"): 1,  # too many
        nmi + bytes.fromhex("e3"): 1,  # how many?
        nmi + nmi + bytes.fromhex("02"): 2,  # no asynchronous event was there
        nmi + nmi + bytes.fromhex("05 03"): 2,  # branches at the position of the event before
        nmi + nmi + bytes.fromhex("e1 01 cccc"): 2,  # a check there
        2 * bytes.fromhex("e7 03 48 00 cccc 00") + nmi: 3,  # the place of an asynchronous event
        bytes.fromhex("e7 03 08 00 cccc 00"): 0,  # and of another
        bytes.fromhex("03 08"): 0,  # an NMI without position
        bytes.fromhex("03 a8"): 0,  # unknown flags
        bytes.fromhex("03 21"): 0,  # an IN without payload
        # Branches to just below 2^63, twice: the next step would pass 2^64.
        2 * bytes.fromhex("07 08 ff ff ff ff ff ff ff ff 7f") + nmi: 3,
        3 * bytes.fromhex("07 08 ff ff ff ff ff ff ff ff 7f"): 2,
    }
    logs = [log_with_chunk(payload, 3) for payload in cases]
    for log, count, result in zip(logs, cases.values(), log_driver.read(logs), strict=True):
        assert len(result.events) == count
        assert (result.end == ERR_END) == (count == 3)
        events, lost = python_read(log)
        assert events == result.events
        assert lost == (count != 3)


def test_another_version_is_named() -> None:
    log = bytearray(python_log([]))
    log[4] = FORMAT_VERSION + 1
    (result,) = log_driver.read([bytes(log)])
    assert result.opened == ERR_VERSION


def test_a_cut_log_gives_its_whole_chunks() -> None:
    registers = Registers((0,) * 16, 0, 2)
    written = [Written(Event(Nmi(), 0, 0, same_position=True), registers) for _ in range(6)]
    log = python_log(written, flush_every=2)
    cuts = range(len(python_log([])), len(log) + 1)
    results = log_driver.read([log[:cut] for cut in cuts])
    assert len(results[-1].events) == 6
    for cut, result in zip(cuts, results, strict=True):
        assert len(result.events) % 2 == 0
        events, lost = python_read(log[:cut])
        assert events == result.events
        # Only a cut in the padding, or just between two chunks, leaves no trace.
        assert lost == (result.end != ERR_END)
