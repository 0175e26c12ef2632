"""What epochs cost while recording: the appliance answers requests, with and without a ring.

Instructions are those from when the appliance has its network to the run's end, the rest is of the
whole run. The machine counts: this computer's speed is in it only as far as the guest waits for the
peer.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lvmm import guest_build, session
from lvmm.bench.results import Metric, Row, Section
from lvmm.board import Board
from lvmm.echo_peer import EchoPeer, EchoResult
from lvmm.errors import MachineError
from lvmm.guest import Guest
from lvmm.messages import say
from lvmm.netpeer import free_port
from lvmm.recording_dir import Manifest
from lvmm.session import RingSettings, RunSettings

MEMORY_MIB = 16
RING_KIB = 64 << 10
EPOCH_MS = 100
NETWORK_MARK = "appliance: 192.168."

REPETITIONS, REQUESTS = 3, 3000
QUICK_REPETITIONS, QUICK_REQUESTS = 1, 200

_DEADLINE_S = 1200.0

PLAIN, NO_EPOCHS, EPOCHS = (
    "log from the start",
    "ring, no epoch yet",
    f"ring, epochs of {EPOCH_MS} ms",
)
_KINDS = {
    PLAIN: None,
    NO_EPOCHS: RingSettings(RING_KIB),
    EPOCHS: RingSettings(RING_KIB, epoch_ms=EPOCH_MS),
}

NOTE = (
    "Instructions: the guest's and the monitor's, from when the network is up. The rest: of the "
    "whole run."
)
METRICS = (
    Metric("instructions", "instructions"),
    Metric("exits", "VM exits"),
    Metric("ept_violations", "EPT violations"),
    Metric("epochs", "epochs"),
    Metric("pages", "pages saved"),
    Metric("log_bytes", "log bytes"),
    Metric("received_bytes", "received bytes"),
    Metric("received_rate", "received per M instructions"),
)


def measure(board: Board, quick: bool) -> Section:
    """Three kinds of recordings of the same requests."""
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    requests = QUICK_REQUESTS if quick else REQUESTS
    rows = []
    for what, ring in _KINDS.items():
        samples = []
        for number in range(repetitions):
            say(f"flight recorder: {what}, {number + 1} of {repetitions}")
            manifest, peer = _record(board, ring, requests, seed=number + 1)
            samples.append(sample_of(manifest, sum(map(len, peer.to_guest))))
        rows.append(Row(what, samples))
    return Section(
        "flight-recorder",
        f"The flight recorder: {requests:,} requests to the appliance",
        METRICS,
        rows,
        (NOTE, change(rows)),
    )


def _record(
    board: Board, ring: RingSettings | None, requests: int, seed: int
) -> tuple[Manifest, EchoResult]:
    guest = Guest("multiboot", guest_build.appliance(), "", MEMORY_MIB)
    port = free_port()
    settings = RunSettings(seed=seed, timeout_s=_DEADLINE_S, net_port=port, ring=ring)
    settings = session.with_network(settings, port, (NETWORK_MARK,))
    with tempfile.TemporaryDirectory(prefix="lvmm-bench-") as scratch:
        peer = EchoPeer(port, requests, seed)
        peer.start()
        try:
            manifest = session.record(board, guest, settings, Path(scratch) / "recording")
        finally:
            result = peer.stop()
    if not result.complete:
        raise MachineError(f"the appliance answered {result.answered} of {requests} requests")
    return manifest, result


def sample_of(manifest: Manifest, received_bytes: int) -> Mapping[str, float]:
    """One recording's figures; `received_bytes` are those of the frames."""
    instructions = manifest.instructions - manifest.marks[NETWORK_MARK]["instructions"]
    return {
        "instructions": instructions,
        "exits": sum(manifest.exits.values()),
        "ept_violations": manifest.exits.get("EPT violation", 0),
        "epochs": manifest.events.get("EPOCH", 0),
        "pages": manifest.events.get("UNDO_PAGE", 0),
        "log_bytes": manifest.log.size,
        "received_bytes": received_bytes,
        "received_rate": received_bytes * 1e6 / instructions,
    }


def change(rows: list[Row]) -> str:
    """What epochs change, in the medians."""
    by_name = {row.what: row for row in rows}

    def ratio(key: str, other: str) -> float:
        return statistics.median(by_name[EPOCHS].values(key)) / statistics.median(
            by_name[other].values(key)
        )

    return (
        f"Epochs of {EPOCH_MS} ms: {100 * (ratio('instructions', NO_EPOCHS) - 1):+.1f}% "
        f"instructions, receive ratio {ratio('received_rate', NO_EPOCHS):.3f}; "
        f"to a log from the start: {100 * (ratio('instructions', PLAIN) - 1):+.1f}%, "
        f"{ratio('received_rate', PLAIN):.3f}."
    )
