"""Guests that crash: how their runs end, and what is told about it. test_linux.py has Linux."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.emulated.gdb_run import debugged
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    assert_identical,
    record_tiny,
    replay,
    tiny,
)

from lvmm import cli, guest_build, session
from lvmm.crash import read_crash
from lvmm.errors import MachineError
from lvmm.logs import Recording
from lvmm.logs.layout import End, EndReason
from lvmm.session import RunSettings

WATCHDOG_S = 2  # the guest's own work with interrupts disabled takes longer


def called(report: dict[str, Any]) -> list[str]:
    """The functions of the backtrace."""
    return [(frame["symbol"] or "").partition("+")[0] for frame in report["backtrace"]]


def test_watchdog_ends_a_guest_that_hangs(tmp_path: Path) -> None:
    directory = tmp_path / "recording"
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S, watchdog_s=WATCHDOG_S)
    manifest = session.record(BOARD, tiny("hang"), settings, directory)
    assert manifest.end_reason == "watchdog"
    assert (directory / "console.log").read_text() == "hanging\n"
    with Recording.open(directory) as recording:
        end = recording.end()
        assert end is not None and isinstance(end.payload, End)
        assert end.payload.reason == EndReason.WATCHDOG
        assert end.asynchronous
    for seed in (3, 4):
        verdict = replay(directory, seed, tmp_path / f"replay-{seed}")
        assert_identical(verdict)
        assert verdict.end_reason == "watchdog"
        assert verdict.crash == read_crash(directory)
        assert verdict.crash is not None
        assert called(verdict.crash)[:2] == ["hang", "guest_main"]


def test_watchdog_in_live_mode() -> None:
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S, watchdog_s=WATCHDOG_S)
    result = session.live(BOARD, tiny("hang"), settings)
    assert result.report.reason == "watchdog"
    assert result.console == b"hanging\n"
    assert result.crash is not None
    assert called(result.crash)[:2] == ["hang", "guest_main"]


def test_a_panic_in_live_mode_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["live", "--multiboot", str(guest_build.tiny_guest("panic")), "--memory", "16"]
    assert cli.main([*arguments, "--seed", "1"]) == 0
    said = capfd.readouterr().out
    assert "CRASH (guest panic): the guest panicked" in said
    assert 'panic: out of "cookies"' in said
    assert "check_cookies" in said


@pytest.mark.parametrize("name", ["idle", "timer"])
def test_watchdog_leaves_others_alone(tmp_path: Path, name: str) -> None:
    """Waiting in HLT, and working with interrupts, is progress."""
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S, watchdog_s=1)
    manifest = session.record(BOARD, tiny(name), settings, tmp_path / "recording")
    assert manifest.end_reason in ("halt", "triple-fault")


@pytest.mark.parametrize(
    ("name", "why", "function"),
    [("panic", "the guest panicked", "check_cookies"), ("hang", "made no progress", "hang")],
)
def test_gdb_is_told(tmp_path: Path, name: str, why: str, function: str) -> None:
    guest = ("--multiboot", guest_build.tiny_guest(name), "--memory", 16)
    run_as = ("live", *guest, "--watchdog", WATCHDOG_S, "--wait")
    with debugged(tmp_path / "live", *run_as) as run:
        said = run.gdb(name, "continue", "monitor when", "backtrace")
        assert "SIGABRT" in said
        assert why in said
        assert function in said
        assert run.ended() == 0


def test_triple_fault_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = record_tiny("selfmod", tmp_path / "recording")
    report = read_crash(recording)
    assert report is not None
    assert report["reason"] == "triple_fault"
    assert any("the IDT ends before" in finding for finding in report["findings"])
    assert called(report)[0] == "end_triple_fault"
    assert called(report)[-1] == "start"
    current = [line for line in report["code"]["instructions"] if line["current"]]
    assert [line["text"] for line in current] == ["int3"]
    assert len(report["last_events"]) == 10
    assert cli.main(["replay", str(recording), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["crash"] == report


def test_panic_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elf = guest_build.tiny_guest("panic")
    command = ["record", "--multiboot", str(elf), "--memory", "16", "-o", str(tmp_path / "r")]
    assert cli.main([*command, "--seed", "1"]) == 0
    text = capsys.readouterr().out
    assert "CRASH (guest panic)" in text
    assert 'panic: out of "cookies"' in text
    calls = ["check_cookies", "eat_cookies", "guest_main", "runtime_main"]
    places = [text.index(f"{name}+0x", text.index("Calls:")) for name in calls]
    assert places == sorted(places)
    assert "vmcall" in text


def test_exit_that_the_monitor_does_not_handle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S)
    with pytest.raises(MachineError, match="task switch"):
        session.record(BOARD, tiny("task_switch"), settings, tmp_path / "recording")
    report = json.loads((tmp_path / "recording.partial" / "crash.json").read_text())
    assert report["reason"] == "monitor_error"
    (error,) = report["errors"]
    assert "task switch" in error
    assert called(report)[:2] == ["switch_task", "guest_main"]
    text = capsys.readouterr().err
    assert error in text
    assert "ljmp" in text
