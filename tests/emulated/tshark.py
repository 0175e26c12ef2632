"""Lets tshark read a recording's frames: a decoder that is not ours."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lvmm.guest_build import ROOT
from lvmm.logs import pcapng

_FIELDS = (
    "frame.interface_name",
    "frame.packet_flags_direction",
    "frame.time_epoch",
    "frame.comment",
    "eth.src",
    "ip.checksum.status",
    "udp.payload",
    "data.data",
)
_PCAP_HEADER, _PCAP_PACKET = 24, struct.Struct("<4I")


@dataclass(frozen=True)
class Decoded:
    """A frame as tshark sees it; `payload` is that of UDP or of an ICMP echo."""

    interface: str
    inbound: bool
    seconds: float
    comment: str
    source: str
    ip_checksum_is_good: bool
    payload: bytes
    data: bytes


def write_pcap(recording: Path, target: Path) -> str:
    """Runs `extract_log.py pcap`; returns what it says."""
    tool = ROOT / "tools" / "extract_log.py"
    done = subprocess.run(
        [sys.executable, tool, "pcap", recording, "-o", target],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def decode(capture: Path) -> list[Decoded]:
    """All frames of a capture, in order."""
    options = [word for field in _FIELDS for word in ("-e", field)]
    options += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    lines = _tshark(capture, "-T", "fields", "-E", "separator=/t", *options).decode()
    frames = _frames(_tshark(capture, "-F", "pcap", "-w", "-"))
    decoded = []
    for line, data in zip(lines.splitlines(), frames, strict=True):
        interface, direction, time, comment, source, checksum, udp, icmp = line.split("\t")
        payload = bytes.fromhex(udp or icmp)
        inbound = int(direction, 0) == pcapng.INBOUND
        decoded.append(
            Decoded(
                interface, inbound, float(time), comment, source, checksum == "1", payload, data
            )
        )
    return decoded


def _tshark(capture: Path, *options: str) -> bytes:
    done = subprocess.run(["tshark", "-r", capture, *options], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _frames(pcap: bytes) -> list[bytes]:
    """The frames in a file of the older format, which tshark has made of the capture."""
    frames = []
    at = _PCAP_HEADER
    while at < len(pcap):
        _, _, length, _ = _PCAP_PACKET.unpack_from(pcap, at)
        at += _PCAP_PACKET.size
        frames.append(pcap[at : at + length])
        at += length
    return frames
