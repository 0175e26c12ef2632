"""Runs that are cut short: Ctrl-C, a deadline, a killed emulator, a killed tool."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.emulated.machine import assert_identical, replay, start_cli, wait_for

from lvmm.guest_build import ROOT, tiny_guest
from lvmm.recording_dir import read_manifest

START_S = 90.0
END_S = 120.0


def start_endless(tmp_path: Path, *more: object) -> subprocess.Popen[bytes]:
    """Starts recording a guest that never ends, and waits until it is well under way."""
    arguments = ["record", "--multiboot", tiny_guest("forever"), "--memory", 16]
    process = start_cli([*arguments, "-o", tmp_path / "r", *more], tmp_path / "cli")
    output = tmp_path / "cli.out"
    wait_for(lambda: b"ticks 1" in output.read_bytes(), START_S, "the guest's third line")
    return process


def emulator_of(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (child,) = [int(pid) for pid in children if "bochs" in Path(f"/proc/{pid}/comm").read_text()]
    return child


def extract_log(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "extract_log.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def error_line(tmp_path: Path) -> str:
    """The one line on stderr besides progress."""
    lines = (tmp_path / "cli.err").read_text().strip().splitlines()
    assert lines
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stopped_recording_is_valid(tmp_path: Path, how: signal.Signals) -> None:
    process = start_endless(tmp_path)
    process.send_signal(how)
    assert process.wait(END_S) == 0, error_line(tmp_path)
    manifest = read_manifest(tmp_path / "r")
    assert manifest.end_reason == "stopped"
    assert_identical(replay(tmp_path / "r", 3, tmp_path / "replay"))


def test_deadline_seals_the_recording(tmp_path: Path) -> None:
    arguments = ["record", "--multiboot", tiny_guest("forever"), "--memory", 16]
    arguments += ["-o", tmp_path / "r", "--timeout", 8, "--json"]
    process = start_cli(arguments, tmp_path / "cli")
    assert process.wait(END_S) == 0, error_line(tmp_path)
    printed = json.loads((tmp_path / "cli.out").read_text())
    assert printed["end_reason"] == "stopped"
    assert printed["directory"] == str(tmp_path / "r")
    assert_identical(replay(tmp_path / "r", 3, tmp_path / "replay"))


def test_killed_emulator_leaves_a_readable_log(tmp_path: Path) -> None:
    process = start_endless(tmp_path)
    os.kill(emulator_of(process), signal.SIGKILL)
    assert process.wait(END_S) == 6
    line = error_line(tmp_path)
    assert "SIGKILL" in line
    assert "r.partial" in line
    assert not (tmp_path / "r").exists()
    partial = tmp_path / "r.partial"
    assert b"ticks" in (partial / "console.log").read_bytes()
    info = extract_log("verify", "--json", partial)
    assert info.returncode in (0, 3), info.stderr
    assert json.loads(info.stdout)["events"] > 100

    refused = start_cli(["replay", partial], tmp_path / "cli")
    assert refused.wait(END_S) == 4
    assert "incomplete" in error_line(tmp_path)


def test_killed_tool_takes_the_emulator_along_and_leaves_the_memory(tmp_path: Path) -> None:
    process = start_endless(tmp_path)
    emulator = emulator_of(process)
    process.kill()
    process.wait()
    wait_for(lambda: not Path(f"/proc/{emulator}").exists(), END_S, "the emulator's end")
    ram = tmp_path / "r.partial" / "run" / "ram.img"
    result = extract_log("extract", ram, "-o", tmp_path / "saved")
    assert result.returncode in (0, 3), result.stderr
    assert b"ticks" in (tmp_path / "saved" / "console.log").read_bytes()
    refused = start_cli(["replay", tmp_path / "r"], tmp_path / "cli")
    assert refused.wait(END_S) == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that a test can fill up."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_disk_that_fills_up_during_a_recording(small_disk: Path, tmp_path: Path) -> None:
    arguments = ["record", "--multiboot", tiny_guest("forever"), "--memory", 16]
    process = start_cli([*arguments, "-o", small_disk / "r"], tmp_path / "cli")
    # Its boot touches 57 MiB of memory: there is room when it starts, and at once there is none.
    ram = small_disk / "r.partial" / "run" / "ram.img"
    wait_for(ram.exists, START_S, "the machine's memory")
    smaller = ["mount", "-o", f"remount,size={shutil.disk_usage(small_disk).used + (4 << 20)}"]
    subprocess.run([*smaller, str(small_disk)], check=True)
    assert process.wait(END_S) == 1
    assert "disk full" in error_line(tmp_path)
