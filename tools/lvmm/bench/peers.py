"""lvmm and QEMU's own record and replay side by side: the same guest, the same datagrams.

Each repetition runs Linux six times, one after the other: natively, recorded and replayed on the
emulated board, and plainly, recorded and replayed on QEMU's TCG.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmm import guest_build, provision, replaying, session
from lvmm.bench import peers_report, qemu
from lvmm.bench.peers_report import Sample
from lvmm.bench.results import Section
from lvmm.board import Board
from lvmm.demo import DIGEST_MARK, NETWORK_MARK, NetRecording, record_receiving
from lvmm.errors import MachineError
from lvmm.guest import Guest
from lvmm.machine_run import RunOptions
from lvmm.messages import say
from lvmm.netpeer import NetPeer, PeerResult, Traffic, free_port
from lvmm.session import BOOT_MARK, RunSettings

NAME = "peers"

DATAGRAMS, QUICK_DATAGRAMS = 3000, 300
REPETITIONS, QUICK_REPETITIONS = 3, 1
DATAGRAM_SIZE = 1024

_MARKS = (BOOT_MARK, NETWORK_MARK, DIGEST_MARK)
_END_MARK = "lvmm: end"
_GUEST_SETTINGS = "lvmm.race=200000 lvmm.end=poweroff"
_DEADLINE_S = 1200.0
# QEMU's replay is given so many times its recording's time, and then so long for the power-off.
_REPLAY_FACTOR = 10.0
_POWER_OFF_S = 60.0


@dataclass(frozen=True)
class Moment:
    """When a text appeared on the console, however the machine runs."""

    wall_s: float
    cpu_s: float
    log_bytes: int


Moments = Mapping[str, Moment]


def _moments(marks: Mapping[str, Any]) -> dict[str, Moment]:
    """Of a run's marks: Mark, QemuMark, or a manifest's."""
    moments = {}
    for text, mark in marks.items():
        fields = mark if isinstance(mark, dict) else dataclasses.asdict(mark)
        moments[text] = Moment(fields["wall_s"], fields["cpu_s"], fields["log_bytes"])
    return moments


def sample_of(
    moments: Moments, wall_s: float | None, log_bytes: int | None, frame_bytes: int, result: str
) -> Sample:
    """The figures of a run; those of a moment that it has not come to are missing.

    `wall_s` is the whole run's, None where it did not end; `log_bytes` are those of the recording
    it makes, None without one.
    """
    figures: dict[str, float] = {} if wall_s is None else {"run_s": wall_s}
    boot, begin, end = (moments.get(text) for text in _MARKS)
    if boot is not None:
        figures |= {"boot_s": boot.wall_s, "boot_cpu_s": boot.cpu_s}
    if begin is not None and end is not None:
        figures["receive_s"] = end.wall_s - begin.wall_s
    if log_bytes is not None:
        figures["log_bytes"] = log_bytes
        if boot is not None:
            figures["boot_log_bytes"] = boot.log_bytes
        if begin is not None and end is not None and frame_bytes:
            figures["log_per_byte"] = (end.log_bytes - begin.log_bytes) / frame_bytes
    return Sample(figures, result)


def received_right(peer: PeerResult, console: bytes) -> str:
    """What came of the datagrams: `digest right`, or what is wrong."""
    if peer.errors:
        return f"peer: {peer.errors[0]}"
    if not peer.complete:
        return f"{peer.acknowledged} of {peer.sent} datagrams acknowledged"
    expected = f"digest {peer.digest} packets {peer.requested} ".encode()
    return "digest right" if expected in console else "digest WRONG"


def replayed_like(recorded: qemu.QemuRun, replayed: qemu.QemuRun) -> str:
    """How QEMU's replay ended, and what is the same as in its recording."""
    if replayed.outcome is qemu.Outcome.FAILED:
        return f"failed: {replayed.message or 'no message'}"
    console = _told_of_console(recorded.console, replayed.console)
    if replayed.outcome is qemu.Outcome.HUNG:
        last = list(replayed.marks)[-1:]
        where = f"after '{last[0]}'" if last else "before init"
        return f"hung {where}, console {console}"
    pages = qemu.different_pages(recorded.ram, replayed.ram)
    if console == "the same" and not pages:
        return "identical"
    return f"finished: console {console}, {pages:,} pages of memory different"


def _told_of_console(recorded: bytes, replayed: bytes) -> str:
    if replayed == recorded:
        return "the same"
    return "shorter" if recorded.startswith(replayed) else "different"


def measure(board: Board, quick: bool) -> list[Section]:
    """The measured runs, the ratios, and the papers' figures beside them."""
    provision.qemu()  # told at once where it is missing
    datagrams = QUICK_DATAGRAMS if quick else DATAGRAMS
    repetitions = QUICK_REPETITIONS if quick else REPETITIONS
    samples: dict[tuple[str, str], list[Sample]] = {}
    for number in range(1, repetitions + 1):
        for system, runs in (("lvmm", _lvmm_runs), ("QEMU", _qemu_runs)):
            say(f"peers: {system}, {number} of {repetitions}")
            with tempfile.TemporaryDirectory(prefix="lvmm-peers-") as folder:
                for mode, sample in runs(board, datagrams, Path(folder)):
                    samples.setdefault((system, mode), []).append(sample)
    return peers_report.sections(samples, datagrams, DATAGRAM_SIZE)


def _traffic() -> Traffic:
    return Traffic(seed=1, size=DATAGRAM_SIZE, pauses=False)


def _guest(board: Board, datagrams: int) -> Guest:
    return guest_build.linux_guest(board, f"lvmm.packets={datagrams} {_GUEST_SETTINGS}")


def _lvmm_runs(board: Board, datagrams: int, scratch: Path) -> Iterable[tuple[str, Sample]]:
    yield "native", _native(board, datagrams)
    say("peers: lvmm records")
    settings = RunSettings(seed=1, timeout_s=_DEADLINE_S)
    recording = record_receiving(
        board, scratch / "recording", datagrams, _traffic(), settings, _GUEST_SETTINGS
    )
    yield "record", _recorded(recording)
    say("peers: lvmm replays")
    settings = dataclasses.replace(settings, seed=2, marks=_MARKS)
    verdict = replaying.replay(board, recording.directory, settings)
    result = "identical" if verdict.identical else "DIFFERENT"
    yield "replay", sample_of(_moments(verdict.marks), verdict.wall_s, None, 0, result)


def _native(board: Board, datagrams: int) -> Sample:
    port = free_port()
    peer = NetPeer(port, _traffic())
    peer.start()
    options = RunOptions(net_port=port, seed=1, deadline_s=_DEADLINE_S, marks=_MARKS)
    try:
        run = session.run_native(board, _guest(board, datagrams), options)
    finally:
        sent = peer.stop()
    if run.error is not None:
        raise run.error
    if run.timed_out:
        raise MachineError(f"the guest on the bare emulator had no end after {_DEADLINE_S:.0f} s")
    result = received_right(sent, run.console)
    return sample_of(_moments(run.marks), run.wall_s, None, sent.frame_bytes, result)


def _recorded(recording: NetRecording) -> Sample:
    """The datagrams are right: that has been checked."""
    manifest = recording.manifest
    sample = sample_of(
        _moments(manifest.marks),
        manifest.wall_s,
        manifest.log.size,
        recording.peer.frame_bytes,
        "digest right",
    )
    boot = manifest.marks[BOOT_MARK]
    rate = boot["log_bytes"] / (boot["guest_instructions"] / 1000)
    return Sample({**sample.figures, "log_per_1000": rate}, sample.result)


def _qemu_runs(board: Board, datagrams: int, scratch: Path) -> Iterable[tuple[str, Sample]]:
    guest = _guest(board, datagrams)
    limits = qemu.Limits(_DEADLINE_S, _END_MARK, _POWER_OFF_S)
    say("peers: QEMU, plain")
    run, peer = _qemu_receives(guest, qemu.Mode.PLAIN, scratch, limits)
    yield "plain", _qemu_sample(run, None, 0, _outcome(run, peer))
    say("peers: QEMU records")
    recorded, peer = _qemu_receives(guest, qemu.Mode.RECORD, scratch, limits)
    result = _outcome(recorded, peer)
    yield "record", _qemu_sample(recorded, recorded.log_bytes, peer.frame_bytes, result)
    say("peers: QEMU replays")
    limits = dataclasses.replace(limits, deadline_s=_POWER_OFF_S + _REPLAY_FACTOR * recorded.wall_s)
    run = qemu.run(guest, qemu.Mode.REPLAY, free_port(), scratch, _MARKS, limits)
    yield "replay", _qemu_sample(run, None, 0, replayed_like(recorded, run))


def _qemu_sample(run: qemu.QemuRun, log_bytes: int | None, frame_bytes: int, result: str) -> Sample:
    wall_s = run.wall_s if run.outcome is qemu.Outcome.FINISHED else None
    return sample_of(_moments(run.marks), wall_s, log_bytes, frame_bytes, result)


def _qemu_receives(
    guest: Guest, mode: qemu.Mode, scratch: Path, limits: qemu.Limits
) -> tuple[qemu.QemuRun, PeerResult]:
    port = free_port()
    peer = NetPeer(port, _traffic())
    peer.start()
    try:
        run = qemu.run(guest, mode, port, scratch, _MARKS, limits)
    finally:
        sent = peer.stop()
    return run, sent


def _outcome(run: qemu.QemuRun, peer: PeerResult) -> str:
    if run.outcome is qemu.Outcome.FAILED:
        return f"failed: {run.message or 'no message'}"
    received = received_right(peer, run.console)
    return received if run.outcome is qemu.Outcome.FINISHED else f"{received}, hung at power-off"
