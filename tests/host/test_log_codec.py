"""The monitor's log writer and reader against the Python ones, on generated events."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import crcmod.predefined  # type: ignore[import-untyped]
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from tests.host import log_driver
from tests.host.log_cases import PAYLOADS, comparable, numbered, python_log, written_events
from tests.host.log_driver import ERR_INVALID, ERR_NO_SPACE, OK, Written

from lvmm.logs import Recording, layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.coding import Codec
from lvmm.logs.wire import WireError, get_svarint, get_uvarint, put_svarint, put_uvarint

pytestmark = pytest.mark.host

REGISTERS = Registers(tuple(range(16)), 0xFFFFFFFF81000000, 2)
FINAL_STATE = bytes(layout.FinalState.STRUCT.size)


def event(payload: layout.Payload, branches: int = 0) -> Written:
    """An event at a fixed place."""
    return Written(Event(payload, branches, REGISTERS.rip), REGISTERS, 99)


def write_and_open(requests: list[bytes]) -> tuple[list[int], list[Event], Recording]:
    """Let the monitor's writer write, and read the region in Python."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "region"
        codes, _ = log_driver.write([log_driver.header_request(), *requests], path)
        with Recording.open(path) as recording:
            return codes, [comparable(item) for item in recording.events()], recording


@settings(max_examples=50, deadline=None)
@given(written_events(), st.sets(st.integers(0, 39)))
def test_monitor_writes_what_python_reads(written: list[Written], flushes: set[int]) -> None:
    requests = []
    for index, item in enumerate(written):
        requests.append(log_driver.event_request(item))
        if index in flushes:
            requests.append(log_driver.flush_request())
    codes, events, recording = write_and_open(requests)
    assert set(codes) <= {OK}
    assert events == numbered(written)
    assert not recording.losses
    assert recording.header == log_driver.HEADER


@settings(max_examples=50, deadline=None)
@given(written_events(), st.integers(0, 5))
def test_python_writes_what_the_monitor_reads(written: list[Written], flush_every: int) -> None:
    (result,) = log_driver.read([python_log(written, flush_every)])
    assert result.opened == OK
    assert result.events == numbered(written)
    assert result.end == log_driver.ERR_END


@settings(max_examples=30, deadline=None)
@given(written_events())
def test_both_writers_make_the_same_bytes(written: list[Written]) -> None:
    assert_both_write_and_read(written)


def assert_both_write_and_read(written: list[Written]) -> None:
    """The two writers make the same bytes, and the two readers read them."""
    requests = [log_driver.header_request(), *map(log_driver.event_request, written)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "region"
        log_driver.write([*requests, log_driver.flush_request()], path)
        with Recording.open(path) as recording:
            recording.save(Path(folder) / "log.lvmm")
            assert [comparable(item) for item in recording.events()] == numbered(written)
        log = (Path(folder) / "log.lvmm").read_bytes()
    assert log == python_log(written)
    (result,) = log_driver.read([log])
    assert result.events == numbered(written)


def test_the_monitor_reads_its_header() -> None:
    (result,) = log_driver.read([python_log([])])
    header = log_driver.HEADER
    assert result.header == [
        header.machine.pack(),
        b"lvmm 0.1",
        b"bochs-vtx",
        b"A brand",
        b"console=ttyS0 quiet",
        b"".join(entry.pack() for entry in header.images),
        b"".join(entry.pack() for entry in header.cpuid),
        b"".join(entry.pack() for entry in header.e820),
        b"".join(entry.pack() for entry in header.dma_streams),
    ]


def test_common_events_are_small() -> None:
    written = [
        replace(event(layout.Rdtsc(1_000_000 + 50_000 * i), 40 * i), checked=False)
        for i in range(10)
    ]
    written += [
        Written(Event(layout.Dma(1, 0x1234000, bytes(1024)), 400, 0, False, True), REGISTERS),
        Written(Event(layout.Dma(1, 0x7FFF000, bytes(1024)), 400, 0, False, True), REGISTERS),
    ]
    _, _, recording = write_and_open([log_driver.event_request(item) for item in written])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.lvmm"
        path.write_bytes(python_log(written))
        with Recording.open(path) as recording:
            sizes = [item.size for item in recording.events()]
    assert max(sizes[1:10]) <= 8
    assert max(sizes[10:]) <= 1024 + 11


KINDS_OF_MOTIF = ("RDTSC", "MMIO_READ", "IN")


def motif(rounds: int) -> list[Written]:
    """A driver's round again and again: RDTSC, a device's register, a port."""
    places = [REGISTERS.rip + 0x1234 * i for i in range(3)]
    written = []
    for index in range(rounds):
        payloads: tuple[layout.Payload, ...] = (
            layout.Rdtsc(1_000_000 + 30_000 * index),
            layout.MmioRead(0xFEBC00C0, 4, 0x80),
            layout.In(0x3FD, 1, 0x60),
        )
        for step, (payload, rip) in enumerate(zip(payloads, places, strict=True)):
            registers = replace(REGISTERS, rip=rip)
            branches = 60 * index + 7 * step
            written.append(Written(Event(payload, branches, rip), registers, index))
    return written


def test_repeated_events_are_smaller(tmp_path: Path) -> None:
    path = tmp_path / "log.lvmm"
    path.write_bytes(python_log([replace(item, checked=False) for item in motif(100)]))
    with Recording.open(path) as recording:
        events = list(recording.events())
    sizes = {name: [item.size for item in events if item.name == name] for name in KINDS_OF_MOTIF}
    assert [len(each) for each in sizes.values()] == [100] * 3
    assert sum(sizes["RDTSC"][10:]) / 90 <= 4
    assert not any(sizes["MMIO_READ"][10:] + sizes["IN"][10:])


def payload_of(log: bytes) -> bytes:
    """The bytes of the only chunk of events."""
    at = len(python_log([]))
    header = layout.ChunkHeader.unpack(log, at)
    at += layout.ChunkHeader.STRUCT.size
    return log[at : at + header.payload_len]


def test_predicted_events_are_these_bytes() -> None:
    """From the second round on an event is like the one that followed the last time."""
    port, tsc, nmi = layout.In(0x3FD, 1, 0x60), layout.Rdtsc, layout.Nmi()
    written = []
    for payload, branches, rip, how in (
        (tsc(100), 3, 0x1000, ""),
        (port, 8, 0x2000, ""),
        (tsc(200), 15, 0x1000, ""),
        (port, 20, 0x2000, ""),
        (port, 20, 0x2000, "same"),
        (tsc(300), 27, 0x1000, "checked"),
        (port, 32, 0x2000, ""),
        (port, 32, 0x2000, "same"),
        (tsc(400), 39, 0x1000, "full"),
        (nmi, 41, 0x3000, "placed"),
        (nmi, 43, 0x3000, ""),
        (tsc(500), 50, 0x1000, ""),
        (port, 55, 0x2000, ""),
    ):
        registers = Registers((0, 7, *[0] * 14), rip, 0x10002)
        event = Event(
            payload,
            branches,
            rip,
            asynchronous=payload is nmi,
            same_position=how == "same",
            registers=registers if how == "full" else None,
        )
        written.append(Written(event, registers, 0, how not in ("", "same"), how == "placed"))
    expected = bytes.fromhex(
        "17 04 00 c801"  # of no prediction: the chunk's position, 100 ticks
        "1f 01 0a 8040 d17f c001"  # another place, port and value
        "1b 04 07 77 74"  # the slot of a place, 58 ticks more than 6 for each of 7 branches
        ""  # the second IN
        "33 21 00"  # one event as predicted came before
        "fb 01 04 07 77 9478 74"  # with a check
        ""
        "33 21 00"
        "e1 02 9478 8280040e848008"  # predicted by the last event but for its registers
        "ef 03 48 04 808001 b3cb 03 07"  # asynchronous: a check, RF and RCX
        "e7 00 48 02"  # neither
        "1b 04 07 77 74"
        ""
    )
    log = python_log(written)
    assert payload_of(log) == expected
    assert_both_write_and_read(written)


def test_transfers_are_these_bytes() -> None:
    """What follows at the same position needs no token: address and length as expected, and of
    small data only what differs.
    """
    written = [
        Written(Event(layout.Dma(stream, gpa, data), 0, 0, True, same_position=True), REGISTERS)
        for stream, gpa, data in (
            (1, 0x1000, b"abcdefgh"),
            (1, 0x1010, b"abcdEfgH"),
            (1, 0x1020, b"abcdEfgH"),
            (1, 0x1030, b"abcdEfgH"),
            (1, 0x1040, b"12"),
            (1, 0x1040, b"123456789"),
            (1, 0x1050, b"987654321"),
            (2, 0x2000, b"A"),
            (1, 0x1056, b"987654321"),
            (2, 0x2010, b"B"),
        )
    ]
    written.append(event(layout.Nmi()))
    expected = (
        bytes.fromhex("13 69 4b 01 8040 08") + b"abcdefgh"
        b"\x72\x10\x90EH\x02"  # another step, what differs, and two more that are as expected
        b"\x41\x0212"  # another length, the step is still 8
        b"\x43\x03\x09123456789"
        b"\x42\x0e987654321"
        b"\x4b\x02\x80\x80\x01\x01A"  # another stream
        b"\x4a\x01\x05987654321"
        b"\x12\x1e\x01B"  # the stream that followed the last time
    )
    log = python_log(written)
    assert payload_of(log)[: len(expected)] == expected
    assert_both_write_and_read(written)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 120))
def test_runs_of_transfers_go_both_ways(rng: random.Random, count: int) -> None:
    """Rings, with few steps, lengths and contents, so that most is as expected; notes between."""
    written: list[Written] = []
    ends = [0x1000, 0x20000, 0x300000]
    for number in range(count):
        if rng.random() < 0.1:
            written.append(Written(Event(layout.Time(256 * number), 0, 0, False, True), REGISTERS))
        ring = rng.choice([0, 0, 0, 1, 2])
        gpa = ends[ring] + rng.choice([8, 8, 8, 0x40, 2**64 - 0x44])
        data = rng.choice([b"\0\0\0\1", b"\0\0\0\1", b"\0\2\0\1", b"12", b"", bytes(20)])
        payload = layout.Dma(ring, gpa % 2**64, data)
        ends[ring] = (gpa + len(data)) % 2**64
        alike = rng.random() < 0.95
        written.append(Written(Event(payload, 0, 0, alike, same_position=True), REGISTERS))
    assert_both_write_and_read(written)


def test_more_transfers_alike_than_one_number_holds() -> None:
    written = [
        Written(Event(layout.Dma(1, 16 * number, b"done"), 0, 0, True, True), REGISTERS)
        for number in range(100)
    ]
    log = python_log(written)
    # The first, the first with that step, 32 more; then a head without anything, and 32 more.
    assert len(payload_of(log)) < 40
    assert_both_write_and_read(written)


def test_frames_sent_are_these_bytes() -> None:
    """Of a frame that is not long only what differs from the last one."""
    long = bytes(range(129))
    written = [
        Written(Event(layout.Sent(1, 3, len(data), data), 0, 0, same_position=True), REGISTERS)
        for data in (b"0123456789", b"01x3456789", long, b"01x345678Yz", b"")
    ]
    expected = (
        b"\x13\x2f\x01\x03\x0a\x0a\xff01234567\x0389"
        b"\x13\x2f\x01\x03\x0a\x0a\x04x\x00"
        b"\x11\x01\x03\x81\x01\x81\x01" + long + b"\x11\x01\x03\x0b\x0b\x00\x06Yz"
        b"\x11\x01\x03\x00\x00"
    )
    log = python_log(written)
    assert payload_of(log) == expected
    assert_both_write_and_read(written)


def test_a_site_that_takes_over_a_slot_predicts_nothing() -> None:
    """The second event at 0xe9 is like the one that took over the slot of 0; so again at 0."""
    written = []
    for index, rip in enumerate((0, 0xE9, 0xE9, 0xE9, 0, 0, 0, 0xE9, 0)):
        registers = replace(REGISTERS, rip=rip)
        written.append(Written(Event(layout.Nmi(), 3 * index, rip), registers))
    assert_both_write_and_read(written)


@pytest.mark.parametrize("kind", layout.EventKind, ids=lambda kind: kind.name)
def test_every_kind_goes_both_ways(kind: layout.EventKind) -> None:
    """find() fails for a kind that the generated tests know nothing of."""
    quick = settings(max_examples=2000, phases=[Phase.generate])
    simple = find(PAYLOADS, lambda payload: kind == payload.KIND, settings=quick)
    assert_both_write_and_read([event(simple)] * 3)
    if dataclasses.fields(simple):
        other = find(
            PAYLOADS, lambda payload: kind == payload.KIND and payload != simple, settings=quick
        )
        assert_both_write_and_read([event(simple), event(other), event(simple)])


def test_crcmod_agrees_with_the_writer_on_every_chunk(tmp_path: Path) -> None:
    crc = crcmod.predefined.mkCrcFun("crc-32c")
    requests = [log_driver.header_request()]
    for number in range(20):
        item = event(layout.Mark(bytes(range(number * 10))), branches=number)
        requests += [log_driver.event_request(item), log_driver.flush_request()]
    log_driver.write(requests, tmp_path / "region")
    with Recording.open(tmp_path / "region") as recording:
        assert len(recording.chunks) == 21
        for chunk in recording.chunks:
            assert crc(chunk.header.pack()[:-4] + chunk.payload()) == chunk.header.crc32c


def test_largest_event_gets_a_chunk_of_its_own(tmp_path: Path) -> None:
    big = event(layout.Dma(0, 0x1000, bytes(range(256)) * 512))
    small = event(layout.Nmi())
    requests = [log_driver.event_request(item) for item in (small, big, small)]
    codes, _ = log_driver.write([log_driver.header_request(), *requests], tmp_path / "region")
    assert codes == [OK] * 4
    with Recording.open(tmp_path / "region") as recording:
        events = [comparable(item) for item in recording.events()]
        assert events == numbered([small, big, small])
        assert [chunk.header.event_count for chunk in recording.chunks] == [0, 1, 1, 1]
        assert recording.open_events == 1
    (result,) = log_driver.read([python_log([small, big, small])])
    assert result.events == events


@pytest.mark.parametrize(
    "bad",
    [
        event(layout.In(0x3F8, 3, 0)),
        event(layout.MmioRead(1 << 56, 4, 0)),
        event(layout.FirmwarePage(0, bytes(4095))),
        event(layout.End(1, b"short")),
        event(layout.Mark(bytes(131073))),
        event(layout.Nmi(), branches=3),
    ],
    ids=["access size", "address", "page", "final state", "too long", "backwards"],
)
def test_what_cannot_be_stored_is_refused(bad: Written) -> None:
    before = event(layout.Nmi(), branches=7)
    after = event(layout.Nmi(), branches=9)
    if bad.event.branches != 3:
        bad = replace(bad, event=replace(bad.event, branches=8))
    for flush in ([], [log_driver.flush_request()]):
        requests = [log_driver.event_request(before), *flush]
        requests += [log_driver.event_request(bad), log_driver.event_request(after)]
        codes, events, _ = write_and_open(requests)
        assert codes == [OK, OK, *[OK] * len(flush), ERR_INVALID, OK]
        assert events == numbered([before, after])
    with pytest.raises(WireError):
        python_log([before, bad])


def test_an_event_before_the_header_is_refused(tmp_path: Path) -> None:
    nmi = log_driver.event_request(event(layout.Nmi()))
    header = log_driver.header_request()
    codes, _ = log_driver.write([nmi, header, header, nmi], tmp_path / "region")
    assert codes == [ERR_INVALID, OK, ERR_INVALID, OK]


@pytest.mark.parametrize("data_len", [100, 5000, 131072])
def test_a_full_region_still_takes_the_end(tmp_path: Path, data_len: int) -> None:
    size = 4096 * 2 + 262144 + 1000
    dma = log_driver.event_request(event(layout.Dma(0, 0, bytes(data_len))))
    end = log_driver.event_request(event(layout.End(6, FINAL_STATE)))
    count = 400_000 // data_len + 2
    requests = [log_driver.header_request(), *[dma] * count, end, log_driver.seal_request(2)]
    codes, _ = log_driver.write(requests, tmp_path / "region", size // 4096 * 4096)
    assert codes[-2:] == [OK, OK]
    assert codes[-3] == ERR_NO_SPACE
    with Recording.open(tmp_path / "region") as recording:
        events = list(recording.events())
        assert not recording.losses
        assert len(events) == codes.count(OK) - 2
        assert events[-1].name == "END"


@given(st.integers(0, (1 << 64) - 1))
def test_integers_survive(value: int) -> None:
    out = bytearray()
    put_uvarint(out, value)
    put_svarint(out, value)
    read, at = get_uvarint(bytes(out), 0)
    assert read == value
    read, at = get_svarint(bytes(out), at)
    assert read & (1 << 64) - 1 == value
    assert at == len(out)


def test_integers_have_one_length_limit() -> None:
    for bad in (b"", b"\x80", b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x00"):
        with pytest.raises(WireError):
            get_uvarint(bad, 0)


def test_a_codec_begins_at_its_site() -> None:
    assert Codec(5, 0xFFFFFFFF81000000).rip == 0xFFFFFFFF81000000


def test_a_chunk_of_an_earlier_recording_cannot_follow(tmp_path: Path) -> None:
    """The region is not cleared as a whole, but where the next chunk would be."""
    region = tmp_path / "region"
    nmi = log_driver.event_request(event(layout.Nmi()))
    requests = [log_driver.header_request(), nmi, log_driver.flush_request()]
    _, data = log_driver.write(requests, region)
    header = layout.RegionHeader.unpack(data)
    end = header.chunks_offset + header.chunk_bytes
    assert data[end : end + 8] == b"\0\0\0\0\xa5\xa5\xa5\xa5"
