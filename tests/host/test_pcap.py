"""The frames of a log as pcapng: the DMA engine with the model NIC below, another reader above."""

from __future__ import annotations

import contextlib
import io
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket, InterfaceDescription, SectionHeader
from tests.host.cbuild import ROOT
from tests.host.dma_log import TICKS, DmaLog
from tests.host.dma_machine import (
    DD,
    TCTL,
    TCTL_EN,
    TDT,
    TX_EOP,
    E1000Driver,
    Machine,
    build_machine,
)
from tests.host.log_driver import HEADER

from lvmm.logs import Recording
from lvmm.logs.errors import NoLog
from lvmm.logs.layout import ChunkHeader
from lvmm.logs.pcap import pcap as commands_pcap

pytestmark = [
    pytest.mark.host,
    # python-pcapng's own, at the options whose type it does not say.
    pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning"),
]

ALL = 262144
COMPLETE, ENVIRONMENT, LOSS = 0, 1, 3
GENERATED = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Packet(NamedTuple):
    """A packet as an independent reader of pcapng sees it."""

    inbound: bool
    data: bytes
    length: int
    first_event: int
    last_event: int
    comment: str
    time_ns: int


class Net:
    """The engine, its log, and the frames that went through it: (inbound, bytes), in order."""

    def __init__(self, machine: Machine, sent_max: int = ALL, **options: int) -> None:
        assert machine.start(sent_max=sent_max).status == 0
        self.machine = machine
        self.driver = E1000Driver(machine, **options)
        self.log = DmaLog(machine, sent_max)
        self.frames: list[tuple[bool, bytes]] = []
        self.driver.up()
        self.log.take()

    def arrive(self, frame: bytes) -> None:
        """From the wire, where frames have a CRC."""
        crc = b"" if self.driver.strip_crc else b"\xc4\xc5\xc6\xc7"
        self.machine.frame(frame + crc)

    def harvest(self) -> None:
        self.machine.harvest()
        self.log.take()
        self.driver.poll()
        crc = 0 if self.driver.strip_crc else 4
        self.frames += [(True, frame[: len(frame) - crc]) for frame in self.driver.received]
        self.driver.received.clear()

    def send(self, fragments: list[bytes], *, context: bool = False, segment: bool = False) -> bool:
        done = self.driver.send(fragments, context=context, segment=segment)
        self.log.take()
        if done:
            self.frames.append((False, b"".join(fragments)))
        return done

    def restart(self) -> None:
        self.harvest()
        self.driver.down()
        self.driver.up()
        self.log.take()


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine(build_machine())
    yield machine
    machine.close()


def pcap(log: bytes) -> tuple[int, str, list[Packet]]:
    """Exit code and notes of the command, and the packets that it wrote."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(said):
        source, target = Path(folder) / "log.lvmm", Path(folder) / "net.pcapng"
        source.write_bytes(log)
        with Recording.open(source) as recording:
            code = commands_pcap(recording, target)
        return code, said.getvalue(), read(target)


def read(path: Path) -> list[Packet]:
    packets = []
    with path.open("rb") as file:
        section, interface, *blocks = FileScanner(file)
    assert isinstance(section, SectionHeader)
    assert isinstance(interface, InterfaceDescription)
    assert interface.options["if_name"] == "e1000 00:03.0"
    assert interface.options["if_description"].startswith("8086:100e")
    assert interface.timestamp_resolution == 1e-9
    for block in blocks:
        assert isinstance(block, EnhancedPacket)
        comment = str(block.options["opt_comment"])
        numbers = comment.partition(",")[0].split(" ")[1].split("-")
        packets.append(
            Packet(
                block.options["epb_flags"].inout == "inbound",
                block.packet_data,
                block.packet_len,
                int(numbers[0]),
                int(numbers[-1]),
                comment,
                block.timestamp_high << 32 | block.timestamp_low,
            )
        )
    return packets


def frame_of(length: int, seed: int = 0) -> bytes:
    return random.Random(seed * 65537 + length).randbytes(length)


STEPS = st.one_of(
    st.tuples(st.just("arrive"), st.integers(1, 9000)),
    st.tuples(st.just("harvest"), st.just(0)),
    st.tuples(st.just("refill"), st.integers(1, 16)),
    st.tuples(st.just("send"), st.integers(0, 19)),
    st.tuples(st.just("transmit"), st.integers(1, 20)),
    st.tuples(st.just("restart"), st.just(0)),
)


def run_step(net: Net, step: str, number: int, seed: int) -> None:
    match step:
        case "arrive":
            net.arrive(frame_of(number, seed))
        case "harvest":
            net.harvest()
        case "refill":
            net.driver.refill(number)
        case "send":
            sizes = [40 + 100 * i for i in range(1 + number % 5)]
            fragments = [frame_of(size, seed) for size in sizes]
            net.send(fragments, context=number > 4, segment=number > 14)
        case "transmit":
            net.machine.transmit(number)
            net.harvest()
            net.driver.clean()
        case _:
            net.restart()
    net.log.take()


@st.composite
def traffic(draw: st.DrawFn, machine: Machine) -> Net:
    net = Net(
        machine,
        rx_count=draw(st.sampled_from([8, 64])),
        buffer_size=draw(st.sampled_from([256, 1024, 2048, 16384])),
        strip_crc=draw(st.booleans()),
    )
    for seed, (step, number) in enumerate(draw(st.lists(STEPS, max_size=30))):
        run_step(net, step, number, seed)
    net.harvest()
    return net


@GENERATED
@given(data=st.data())
def test_every_frame_in_order(machine: Machine, data: st.DataObject) -> None:
    net = data.draw(traffic(machine))
    code, said, packets = pcap(net.log.log())
    assert code == COMPLETE, said
    assert [(packet.inbound, packet.data) for packet in packets] == net.frames
    assert all(packet.length == len(packet.data) for packet in packets)
    received = sum(inbound for inbound, _ in net.frames)
    assert f"{received} frames received, {len(net.frames) - received} sent" in said
    events = net.log.events
    for packet in packets:
        assert 0 <= packet.first_event <= packet.last_event < len(events)
    for before, after in pairwise(packets):
        assert before.last_event < after.last_event
        assert before.time_ns <= after.time_ns


@GENERATED
@given(data=st.data())
def test_damage_invents_no_frame(machine: Machine, data: st.DataObject) -> None:
    """Of a log without some chunks: the frames that do not touch a loss, and no others."""
    net = data.draw(traffic(machine))
    log = net.log.log(events_per_chunk=data.draw(st.integers(1, 7)))
    _, _, whole = pcap(log)
    chunks = list(chunks_of(log))
    dropped = data.draw(st.sets(st.integers(1, len(chunks)), max_size=4)) - {len(chunks)}
    damaged = b""
    there: set[int] = set()
    for number, (header, content) in enumerate(chunks):
        if number not in dropped:
            damaged += content
            there |= set(range(header.first_event, header.first_event + header.event_count))
    code, said, packets = pcap(damaged)
    # Nothing tells of chunks after the last one that is there.
    last = max(set(range(len(chunks))) - dropped)
    assert code == (LOSS if any(number < last for number in dropped) else COMPLETE), said
    found = {packet.comment: packet for packet in packets}
    assert [packet.comment for packet in whole if packet.comment in found] == list(found)
    touched = 0
    for packet in whole:
        events = set(range(packet.first_event, packet.last_event + 1))
        assert (there >= events) == (packet.comment in found)
        touched += bool(there & events) and not there >= events
        if packet.comment in found:
            assert found[packet.comment]._replace(time_ns=packet.time_ns) == packet
    left_out = re.search(r"(\d+) more left out", said)
    assert (int(left_out[1]) if left_out else 0) <= touched


def chunks_of(log: bytes) -> Iterator[tuple[ChunkHeader, bytes]]:
    at = 0
    while at < len(log):
        header = ChunkHeader.unpack(log, at)
        size = ChunkHeader.STRUCT.size + header.payload_len
        end = at + size + -size % 8
        yield header, log[at:end]
        at = end


def test_times_are_the_monitors_readings(machine: Machine) -> None:
    net = Net(machine)
    net.send([b"x" * 60])
    for _ in range(3):
        net.arrive(frame_of(200))
        net.harvest()
    _, _, packets = pcap(net.log.log())
    step = TICKS * 1_000_000_000 // HEADER.machine.tsc_hz
    start = HEADER.machine.start_time * 1_000_000_000
    assert [packet.time_ns - start for packet in packets] == [step * n for n in range(1, 5)]


def test_long_and_segmented_frames(machine: Machine) -> None:
    """More than one part a descriptor, and a frame of which the device makes several packets."""
    net = Net(machine, tx_count=64)
    long = [frame_of(0x800, n) for n in range(8)]
    assert net.send([frame_of(5000)], context=True)
    assert net.send(long, context=True, segment=True)
    assert net.send([b"y" * 100])
    _, _, packets = pcap(net.log.log())
    assert [packet.data for packet in packets] == [frame_of(5000), b"".join(long), b"y" * 100]
    assert ["segmentation" in packet.comment for packet in packets] == [False, True, False]


@pytest.mark.parametrize("kept", [1, 64, 4096, 5000, 6999])
def test_only_the_beginning_of_sent_frames(machine: Machine, kept: int) -> None:
    net = Net(machine, sent_max=kept)
    frame = frame_of(7000)
    net.send([frame], context=True)
    net.send([frame[at : at + 1000] for at in range(0, 7000, 1000)] + [b"z"])
    _, said, packets = pcap(net.log.log())
    assert [(packet.data, packet.length) for packet in packets] == [
        (frame[:kept], 7000),
        (frame[:kept], 7001),
    ]
    assert "2 of them in part" in said


def test_no_sent_frames_when_none_are_wanted(machine: Machine) -> None:
    net = Net(machine, sent_max=0)
    net.send([b"x" * 60])
    net.arrive(frame_of(99))
    net.harvest()
    _, said, packets = pcap(net.log.log())
    assert [packet.data for packet in packets] == [frame_of(99)]
    assert "--sent-bytes 0" in said


def test_what_is_not_ram_is_not_sent(machine: Machine) -> None:
    """The device is given a length of 0 for a buffer outside RAM: the frame goes on without it."""
    net = Net(machine)
    driver = net.driver
    machine.store(driver.tx_buffers, b"a" * 50)
    for address, bits in ((driver.tx_buffers, 50), (1 << 40, 700), (driver.tx_buffers, TX_EOP | 9)):
        where = driver.tx_ring + 16 * driver.tx_use
        machine.store(where, struct.pack("<QII", address, bits, 0))
        driver.tx_use += 1
    machine.write(TDT, driver.tx_use)
    net.log.take()
    _, _, packets = pcap(net.log.log())
    assert [(packet.data, packet.length) for packet in packets] == [(b"a" * 59, 59)]


def test_a_received_frame_that_is_given_up(machine: Machine) -> None:
    """A reset after a frame's first descriptor: what comes next is a frame of its own."""
    net = Net(machine, strip_crc=True)
    machine.corrupt(struct.pack("<HHBBH", 70, 0, DD, 0, 0), rx=True)
    assert machine.harvest() == 1
    net.log.take()
    net.driver.down()
    net.driver.up()
    net.arrive(frame_of(80))
    machine.harvest()
    net.log.take()
    _, said, packets = pcap(net.log.log())
    assert [packet.data for packet in packets] == [frame_of(80)]
    assert "left out" not in said


def test_a_ring_that_is_enabled_again_sends_nothing_twice(machine: Machine) -> None:
    net = Net(machine)
    net.send([b"1" * 60])
    machine.write(TCTL, 0)
    machine.write(TCTL, TCTL_EN)
    net.log.take()
    net.send([b"2" * 60])
    _, _, packets = pcap(net.log.log())
    assert [packet.data[:1] for packet in packets] == [b"1", b"2"]


def test_without_a_header_nothing_is_known_of_frames(machine: Machine, tmp_path: Path) -> None:
    net = Net(machine)
    net.send([b"x" * 60])
    source = tmp_path / "log.lvmm"
    source.write_bytes(b"".join(content for _, content in list(chunks_of(net.log.log()))[1:]))
    with Recording.open(source) as recording, pytest.raises(NoLog, match="header is lost"):
        commands_pcap(recording, tmp_path / "net.pcapng")
    assert not (tmp_path / "net.pcapng").exists()


def test_the_command(machine: Machine, tmp_path: Path) -> None:
    net = Net(machine)
    net.arrive(frame_of(123))
    net.harvest()
    (tmp_path / "log.lvmm").write_bytes(net.log.log())
    tool = [sys.executable, ROOT / "tools" / "extract_log.py", "pcap", tmp_path / "log.lvmm", "-o"]
    done = subprocess.run([*tool, tmp_path / "net.pcapng"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (COMPLETE, b""), done.stderr
    assert len(read(tmp_path / "net.pcapng")) == 1
    for target in (tmp_path, tmp_path / "missing" / "net.pcapng"):
        failed = subprocess.run([*tool, target], capture_output=True, text=True, check=False)
        assert failed.returncode == ENVIRONMENT
        assert failed.stderr.startswith("extract_log: cannot write")
        assert failed.stderr.count("\n") == 1
