"""The command pcap: the frames of a recording as a file for Wireshark."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lvmm import __version__
from lvmm.errors import EnvironmentProblem
from lvmm.logs import pcapng
from lvmm.logs.errors import NoLog
from lvmm.logs.frames import Device, Frame, FrameCutter
from lvmm.logs.guest_time import GuestClock
from lvmm.logs.header import RecordingHeader
from lvmm.logs.output import check_replaceable, write_atomically
from lvmm.logs.printing import Progress, finish, note
from lvmm.logs.recording import Recording

_NS = 1_000_000_000


def pcap(recording: Recording, output: Path) -> int:
    """Write all frames to a pcapng file; returns the exit code.

    Raises NoLog when the recording header is lost, which says what is a frame, and
    EnvironmentProblem when the file cannot be written.
    """
    header = recording.header
    if header is None:
        raise NoLog(f"{recording.source.name}: the recording header is lost: no frames without it")
    if output.is_dir():
        raise EnvironmentProblem(f"cannot write {output}: it is a directory")
    capture = Capture(recording, header)
    check_replaceable(output, recording.source.name)
    write_atomically(output, capture.blocks())
    for line in capture.summary():
        note(f"{output}: {line}")
    return finish(recording)


class Capture:
    """A recording's frames as blocks of a pcapng file."""

    def __init__(self, recording: Recording, header: RecordingHeader) -> None:
        self._recording = recording
        self._header = header
        self._cutter = FrameCutter(header.dma_streams)
        self._received: Counter[Device] = Counter()
        self._sent: Counter[Device] = Counter()
        self._cut = 0

    def blocks(self) -> Iterator[bytes]:
        """Yield the file's blocks in order."""
        header, machine = self._header, self._header.machine
        comment = f"recording {self._recording.recording_id:016x} on {header.board}"
        yield pcapng.section(
            f"lvmm {__version__}", header.cpu_brand.strip(), header.command_line, comment
        )
        numbers = {}
        for number, device in enumerate(self._cutter.devices):
            numbers[device] = number
            yield pcapng.interface(device.name, f"{device.identity}, recorded by lvmm")
        clock = GuestClock(machine.tsc_hz, machine.start_tsc)
        start_ns = machine.start_time * _NS
        with Progress("pcap", self._recording.event_count, sys.stderr) as progress:
            for frame in self._cutter.frames(clock.timed(self._recording.events())):
                self._count(frame)
                progress.at(frame.last_event)
                yield pcapng.packet(
                    numbers[frame.device],
                    start_ns + round(frame.seconds * _NS),
                    frame.data,
                    frame.length,
                    pcapng.INBOUND if frame.inbound else pcapng.OUTBOUND,
                    comment_on(frame),
                )

    def summary(self) -> Iterator[str]:
        """What was written and what was left out, a line each."""
        if not self._cutter.devices:
            yield "no frames: no device with a DMA profile was recorded"
        for device in self._cutter.devices:
            sent = f"{self._sent[device]} sent"
            if not device.keeps_sent:
                sent = "sent ones are not in it, as record was told (--sent-bytes 0)"
            yield f"{device.name}: {self._received[device]} frames received, {sent}"
        if self._cut:
            yield f"{self._cut} of them in part: the rest was not kept, or is not RAM"
        if self._cutter.lost:
            yield f"{self._cutter.lost} more left out, of which a part is lost"

    def _count(self, frame: Frame) -> None:
        (self._received if frame.inbound else self._sent)[frame.device] += 1
        self._cut += len(frame.data) < frame.length


def comment_on(frame: Frame) -> str:
    """What Wireshark shows as the packet's comment: its events, and what is special."""
    events = f"events {frame.first_event}-{frame.last_event}"
    if frame.first_event == frame.last_event:
        events = f"event {frame.first_event}"
    parts = [f"{events}, ring {frame.ring}"]
    if frame.segmented:
        parts.append("before segmentation: the device made several packets of it")
    return "; ".join(parts)
