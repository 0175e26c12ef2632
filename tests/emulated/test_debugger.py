"""Real gdb at the emulated board: live, record and replay, with tiny guests."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import pytest
from tests.emulated.gdb_run import debugged, number, numbers
from tests.emulated.machine import assert_identical, events_of, record_tiny, replay, wait_for
from tests.host.gdb_client import Client

from lvmm.guest_build import tiny_guest
from lvmm.logs.event_text import event_line
from lvmm.recording_dir import read_manifest

pytestmark = [
    pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb"),
    pytest.mark.xdist_group(__name__),  # one worker: they share a recording
]

TICKS = "p *(unsigned int *) &ticks"
INTERRUPTS = "p *(unsigned int *) &interrupts"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_tiny("timer", tmp_path_factory.mktemp("debugger") / "timer")


def test_break_into_a_running_guest(tmp_path: Path) -> None:
    arguments = ["live", "--multiboot", tiny_guest("forever"), "--memory", 16]
    with debugged(tmp_path / "live", *arguments) as run:
        console = tmp_path / "live.out"
        wait_for(lambda: b"ticks 1" in console.read_bytes(), 120, "the guest's third line")
        said = run.gdb("forever", "info symbol $pc", TICKS, "stepi", "stepi", TICKS)
        assert "in section .text" in said
        assert numbers(said, r"\$\d = (\d+)\n")[0] >= 100
        assert run.process.poll() is None
        # That gdb has left: the guest runs on, and the next one finds it.
        length = len(console.read_bytes())
        wait_for(lambda: len(console.read_bytes()) > length, 120, "the guest's next line")
        said = run.gdb(
            "forever",
            "break on_timer",
            "continue",
            "x/i $pc",
            "delete",
            "watch *(unsigned int *) &ticks",
            TICKS,
            "continue",
            TICKS,
            "delete",
            "p $esp",
            "x/2wx $esp",
            "p/x $cs",
            "detach",
        )
        assert "Breakpoint 1, " in said
        assert ">:\tint3" not in said, "the breakpoint is hidden"
        assert "Old value" in said
        before, after = numbers(said, r"\$\d = (\d+)\n")
        assert after == before + 1
        run.process.send_signal(signal.SIGINT)
        assert run.ended() == 0
        assert "the guest ended (stopped)" in run.said


def test_from_the_first_instruction_to_a_triple_fault(tmp_path: Path) -> None:
    arguments = ["live", "--multiboot", tiny_guest("timer"), "--memory", 16, "--wait"]
    with debugged(tmp_path / "live", *arguments) as run:
        said = run.gdb(
            "timer",
            "info symbol $pc",
            "p/x $eax",
            "hbreak guest_main",
            "continue",
            "info symbol $pc",
            "continue",
            "info symbol $pc",
            INTERRUPTS,
            "monitor when",
            "continue",
        )
        assert "start in section" in said
        assert "$1 = 0x2badb002" in said, "the boot loader's magic"
        assert "guest_main in section" in said
        assert "triple fault" in said
        assert "end_triple_fault" in said
        assert "$2 = 48" in said
        assert run.ended() == 0, run.said
        assert "the guest ended (triple-fault)" in run.said


def test_a_debugged_recording_replays(tmp_path: Path) -> None:
    arguments = ["record", "--multiboot", tiny_guest("timer"), "--memory", 16, "--wait"]
    with debugged(tmp_path / "record", *arguments, "-o", tmp_path / "r") as run:
        said = run.gdb(
            "timer",
            "break on_timer",
            *["continue", "stepi", "stepi", "bt 1"] * 5,
            "watch *(unsigned int *) &interrupts",
            *["continue"] * 3,
            "set var $eax = 1",
            "set var *(unsigned int *) &hits = 0x5eed",
            "x/wx &hits",
            "monitor events 2",
            "delete",
            "continue",
            "info registers",
        )
        assert re.search(r" DMA .*ed5e0000", said), "what gdb wrote is the last event"
        assert ":\t0x00005eed" in said
        assert said.count("Breakpoint 1, ") >= 5
        assert "Old value" in said
        assert "Could not write register" in said, "the log has no place for it"
        assert run.ended() == 0, run.said
    manifest = read_manifest(tmp_path / "r")
    assert manifest.end_reason == "triple-fault"
    assert not manifest.altered
    for seed in (5, 6):
        assert_identical(replay(tmp_path / "r", seed, tmp_path / f"replay-{seed}"))


def test_a_debugged_replay_is_identical(recording: Path, tmp_path: Path) -> None:
    """Breakpoints, steps, watchpoints and reads; and each stop is at the same position."""
    positions = []
    for seed in (7, 8):
        with debugged(tmp_path / f"replay-{seed}", "replay", recording, "--seed", seed) as run:
            said = run.gdb(
                "timer",
                "break on_timer",
                *["continue", "monitor when", "x/8wx $esp"] * 4,
                *["stepi", "monitor when"] * 8,
                "delete",
                "watch *(unsigned int *) &interrupts",
                *["continue", "monitor when", INTERRUPTS] * 4,
                "delete",
                "continue",
                "info registers",
                "x/16wx &hits",
            )
            assert said.count("Breakpoint 1, ") == 4
            assert run.ended() == 0, (tmp_path / f"replay-{seed}.out").read_text()
        assert "the replay is identical" in (tmp_path / f"replay-{seed}.out").read_text()
        found = numbers(said, r"branches +(\d+)"), numbers(said, r"RIP +(0x[0-9a-f]+)")
        assert len(found[0]) == 16
        assert found[0] == sorted(found[0])
        positions.append(found)
    assert positions[0] == positions[1]


def test_many_watchpoints_in_a_replay(recording: Path, tmp_path: Path) -> None:
    """More and longer ones than debug registers hold, and one for reads alone."""
    unused = [f"watch *(int *) {address:#x}" for address in range(0x300000, 0x304000, 0x1000)]
    with debugged(tmp_path / "replay", "replay", recording) as run:
        said = run.gdb(
            "timer",
            *unused,
            "rwatch *(unsigned int *) &interrupts",
            "awatch *(char (*)[768]) &hits",
            *["continue"] * 4,
            "delete 5",
            *["continue"] * 4,
            INTERRUPTS,
            "delete",
            "continue",
        )
        assert "Could not insert" not in said
        assert said.count("Hardware read watchpoint 5: ") == 5, "the one that it was set by too"
        assert said.count("Hardware access (read/write) watchpoint 6: ") == 5
        assert not re.search(r"^Hardware watchpoint [1-4]: .*\n\nOld", said, re.MULTILINE)
        assert run.ended() == 0, (tmp_path / "replay.out").read_text()


def test_writes_in_a_replay(recording: Path, tmp_path: Path) -> None:
    with debugged(tmp_path / "replay", "replay", recording) as run:
        said = run.gdb(
            "timer",
            "break guest_main",
            "continue",
            "set var *(unsigned int *) &interrupts = 1",
            "set var $eax = 5",
            INTERRUPTS,
            "monitor force-writes on",
            "set var *(unsigned int *) &interrupts = 1",
            INTERRUPTS,
            "delete",
            "continue",
        )
        assert "Could not write register" in said
        assert numbers(said, r"\$\d = (\d+)\n") == [0, 1]
        assert run.ended() == 3
    assert "altered" in (tmp_path / "replay.out").read_text()


def test_the_state_after_a_crash_can_be_read(recording: Path, tmp_path: Path) -> None:
    """gdb comes when the replay is over."""
    with debugged(tmp_path / "replay", "replay", recording, "--no-wait") as run:
        wait_for(lambda: "the run is over" in run.said, 240, "the replay's end")
        commands = ("info symbol $pc", INTERRUPTS, "monitor when", "monitor events 3", "continue")
        said = run.gdb("timer", *commands, "kill")
        assert "end_triple_fault" in said
        assert "$1 = 48" in said
        for event in events_of(recording)[-3:]:
            assert event_line(event) in said
        assert number(said, r"branches +(\d+)") == read_manifest(recording).branches
        assert run.ended() == 0, run.said


def test_gdb_that_comes_early_and_leaves_early(recording: Path, tmp_path: Path) -> None:
    """It waits for the machine; the replay goes on without it, and tells its verdict."""
    with debugged(tmp_path / "replay", "replay", recording, early=True) as run:
        patience = "set tcp connect-timeout 120"
        said = run.gdb("timer", "break on_timer", "continue", "detach", before=[patience])
        assert "Breakpoint 1, " in said
        assert "detached" in said
        assert run.ended() == 0, run.said
    assert "the replay is identical" in (tmp_path / "replay.out").read_text()
    assert "the run is over" not in run.said


def test_ctrl_c_ends_a_replay_that_waits(recording: Path, tmp_path: Path) -> None:
    with debugged(tmp_path / "replay", "replay", recording) as run:
        run.process.send_signal(signal.SIGINT)
        assert run.ended() == 130
        assert run.said.splitlines()[-1] == "lvmm: interrupted"


def test_ctrl_c_with_gdb_attached_seals_the_recording(tmp_path: Path) -> None:
    arguments = ["record", "--multiboot", tiny_guest("forever"), "--memory", 16]
    with debugged(tmp_path / "record", *arguments, "-o", tmp_path / "r") as run:
        with Client(run.port, timeout_s=60) as client:
            assert client.ask(b"?").startswith(b"T05")
            assert client.ask(b"Z0,7000,1") == b"OK"
            client.send(b"c")
            run.process.send_signal(signal.SIGINT)
            assert client.receive()[:1] in (b"O", b"T"), "gdb is told of the end"
            assert run.ended() == 0, run.said
        assert "cannot" not in run.said
    assert read_manifest(tmp_path / "r").end_reason == "stopped"
    assert_identical(replay(tmp_path / "r", 5, tmp_path / "replay"))


def test_reset(tmp_path: Path) -> None:
    arguments = ["live", "--multiboot", tiny_guest("timer"), "--memory", 16, "--wait"]
    with debugged(tmp_path / "live", *arguments) as run:
        said = run.gdb(
            "timer",
            "break on_timer",
            "continue",
            "delete",
            "monitor reset",
            "maintenance flush register-cache",
            "info symbol $pc",
            "break guest_main",
            "continue",
            "delete",
            "continue",
        )
        assert "start in section" in said
        assert "Breakpoint 2, " in said
        assert "triple fault" in said
        assert run.ended() == 0, run.said
    assert "the guest ended (triple-fault)" in run.said
