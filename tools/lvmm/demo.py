"""The demo: records Debian's kernel receiving packets and crashing, and replays it three times."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from lvmm import guest_build, provision, replaying, session
from lvmm.board import Board
from lvmm.errors import EnvironmentProblem, MachineError, UsageError
from lvmm.guest_build import ROOT
from lvmm.messages import say
from lvmm.monitor_build import monitor_elf
from lvmm.netpeer import NetPeer, PeerResult, Traffic, free_port
from lvmm.recording_dir import Manifest

PACKETS = 2048
REPLAYS = 3
PARALLEL_REPLAYS = 2

NETWORK_MARK = "lvmm: network up"
DIGEST_MARK = "lvmm: digest"
_MARKS = (NETWORK_MARK, DIGEST_MARK)

_RECORD_DEADLINE_S = 1200.0


@dataclass(frozen=True)
class NetRecording:
    """A recording of a Linux guest that received datagrams."""

    directory: Path
    manifest: Manifest
    peer: PeerResult
    console: str

    @property
    def packets(self) -> int:
        return self.peer.acknowledged

    @property
    def log_bytes_boot(self) -> int:
        """Bytes of log up to init's first output."""
        return int(self.manifest.marks[session.BOOT_MARK]["log_bytes"])

    @property
    def log_bytes_per_received_byte(self) -> float:
        """Growth of the log while receiving, by the bytes of the frames."""
        marks = self.manifest.marks
        growth = marks[DIGEST_MARK]["log_bytes"] - marks[NETWORK_MARK]["log_bytes"]
        return float(growth / self.peer.frame_bytes)

    def check(self) -> None:
        """Raises MachineError unless the guest received everything as it was sent."""
        expected = f"digest {self.peer.digest} packets {self.peer.requested} "
        if self.peer.errors:
            raise MachineError(f"the network peer failed: {self.peer.errors[0]}")
        if not self.peer.complete or expected not in self.console:
            raise MachineError(
                f"the guest acknowledged {self.peer.acknowledged} of {self.peer.requested} "
                "datagrams, or its digest is wrong"
            )


def record_receiving(
    board: Board,
    output: Path,
    packets: int,
    traffic: Traffic,
    settings: session.RunSettings,
    guest_settings: str = "",
    extracted: Path | None = None,
) -> NetRecording:
    """Records Linux with the workload while the peer sends `packets` datagrams.

    `extracted`: where tools/extract_log.py saves the log from the machine's memory.
    """
    guest = guest_build.linux_guest(board, f"lvmm.packets={packets} {guest_settings}".strip())
    port = free_port()
    settings = session.with_network(settings, port, _MARKS)
    peer = NetPeer(port, traffic)
    peer.start()
    try:
        manifest = session.record(
            board,
            guest,
            settings,
            output,
            before_extraction=None if extracted is None else _extractor(extracted),
        )
    finally:
        result = peer.stop()
    console = (output / manifest.console.path).read_text(errors="replace")
    recording = NetRecording(output, manifest, result, console)
    recording.check()
    return recording


def _extractor(output: Path) -> Any:
    def extract(ram: Path) -> None:
        command = [sys.executable, str(ROOT / "tools" / "extract_log.py"), "extract"]
        result = subprocess.run(
            [*command, str(ram), "-o", str(output)], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise MachineError(f"extract_log.py failed: {result.stderr.strip()}")

    return extract


def summary(
    board: Board, recording: NetRecording, verdicts: list[replaying.ReplayVerdict]
) -> dict[str, Any]:
    """What summary.json holds."""
    manifest = recording.manifest
    return {
        "board": board.name,
        "guest": f"{manifest.kernel_name}: {manifest.cmdline}",
        "record": {
            "wall_s": manifest.wall_s,
            "branches": manifest.branches,
            "instructions": manifest.instructions,
            "exits": manifest.exits,
            "events": manifest.events,
            "packets": recording.packets,
            "received_bytes": recording.peer.frame_bytes,
            "log_bytes": manifest.log.size,
            "log_bytes_boot": recording.log_bytes_boot,
            "log_bytes_per_received_byte": round(recording.log_bytes_per_received_byte, 4),
        },
        "replays": [
            {
                "seed": verdict.seed,
                "wall_s": verdict.wall_s,
                "events_total": verdict.events_total,
                "events_matched": verdict.events_matched,
                "console_identical": verdict.console_identical,
                "registers_identical": verdict.registers_identical,
                "memory_identical": verdict.memory_identical,
                "memory_sha256": verdict.memory_sha256,
            }
            for verdict in verdicts
        ],
    }


def _tables(recording: NetRecording, verdicts: list[replaying.ReplayVerdict]) -> str:
    manifest = recording.manifest
    guest_end = f"{manifest.end_reason} after {manifest.branches:,} conditional branches"
    facts = [
        ("guest", f"{manifest.kernel_name}, {manifest.memory_mib} MiB"),
        ("end", guest_end),
        ("recorded in", f"{manifest.wall_s:.1f} s"),
        ("received", f"{recording.packets} datagrams, {recording.peer.frame_bytes:,} bytes"),
        ("events", f"{manifest.events_total:,}"),
        ("log", f"{manifest.log.size:,} bytes, {recording.log_bytes_boot:,} of them for the boot"),
        ("log growth", f"{recording.log_bytes_per_received_byte:.2f} bytes per received byte"),
    ]

    def same(identical: bool) -> str:
        return "identical" if identical else "DIFFERENT"

    rows = [
        (
            f"replay {number}",
            verdict.seed,
            f"{verdict.wall_s:.1f} s",
            f"{verdict.events_matched:,} of {verdict.events_total:,}",
            same(verdict.console_identical),
            same(verdict.registers_identical),
            same(verdict.memory_identical),
        )
        for number, verdict in enumerate(verdicts, start=1)
    ]
    headers = ("", "skid seed", "time", "events matched", "console", "registers", "memory")
    return tabulate(facts, tablefmt="plain") + "\n\n" + tabulate(rows, headers, tablefmt="simple")


def run(board: Board, output: Path | None) -> int:
    """Runs the demo into `output` (build/demo, where the last one is replaced); returns the exit
    code. Raises UsageError where there is something at `output`.
    """
    with _folder(output) as folder:
        return _run(board, folder)


@contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    """The folder to write into, which is nobody else's."""
    if output is not None:
        if os.path.lexists(output):
            raise UsageError(f"{output} exists already; choose another directory with -o")
        yield output
        return
    output = ROOT / "build" / "demo"
    output.parent.mkdir(exist_ok=True)
    with output.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EnvironmentProblem(
                f"another demo writes to {output}: wait for it, or choose a directory with -o"
            ) from None
        shutil.rmtree(output, ignore_errors=True)
        yield output


def _run(board: Board, output: Path) -> int:
    start = time.monotonic()

    def step(text: str) -> None:
        say(f"[{time.monotonic() - start:5.1f} s] {text}")

    step("set-up: emulator, kernel, tools")
    provision.setup()
    try:
        output.mkdir(parents=True)
    except OSError as error:
        raise EnvironmentProblem(f"cannot create {output}: {error.strerror}") from None
    step("building the monitor and the boot image")
    monitor_elf(board.name)
    step(f"recording: Linux boots, receives {PACKETS} datagrams and crashes; its console:")
    recording = record_receiving(
        board,
        output / "recording",
        PACKETS,
        Traffic(seed=session.new_seed()),
        session.RunSettings(timeout_s=_RECORD_DEADLINE_S, console=_show),
        extracted=output / "extracted",
    )
    extracted = output / "extracted" / "log.lvmm"
    if extracted.read_bytes() != (recording.directory / "log.lvmm").read_bytes():
        raise MachineError("extract_log.py saved another log than the recording's")
    step(f"extracted the log from the machine's memory: {extracted.stat().st_size:,} bytes")
    step(f"replaying {REPLAYS} times: no network, another clock, another skid")
    verdicts = _replay_all(board, recording.directory, step)
    report = summary(board, recording, verdicts)
    (output / "summary.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print()
    print(_tables(recording, verdicts))
    identical = sum(verdict.identical for verdict in verdicts)
    print(f"\n{identical} of {REPLAYS} replays are identical; details: {output / 'summary.json'}")
    step("done")
    return 0 if identical == REPLAYS else 3


def _replay_all(board: Board, directory: Path, step: Any) -> list[replaying.ReplayVerdict]:
    def replay(number: int) -> replaying.ReplayVerdict:
        settings = session.RunSettings(seed=session.new_seed(), timeout_s=_RECORD_DEADLINE_S)
        verdict = replaying.replay(board, directory, settings)
        result = "identical" if verdict.identical else "DIFFERENT"
        step(f"replay {number} (seed {verdict.seed}): {result} after {verdict.wall_s:.1f} s")
        return verdict

    with ThreadPoolExecutor(PARALLEL_REPLAYS) as pool:
        return list(pool.map(replay, range(1, REPLAYS + 1)))


def _show(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()
