"""lvmm attach at a machine that another command has started, and what is typed there."""

from __future__ import annotations

import json
from pathlib import Path

from tests.emulated.gdb_run import DebuggedRun
from tests.emulated.machine import (
    assert_identical,
    events_of,
    replay,
    start_cli,
    wait_for,
)
from tests.emulated.terminal import WAIT_S, Attached, attachable

from lvmm.debug.target import LinkTarget
from lvmm.gdb.target import TargetError
from lvmm.guest_build import tiny_guest
from lvmm.link import LinkClient, open_stream
from lvmm.logs.event_text import event_line
from lvmm.logs.layout import In
from lvmm.recording_dir import read_manifest

SERIAL = 0x3F8
END_S = 240.0


def type_until_the_end(run: DebuggedRun, folder: Path) -> str:
    """Two lines are typed; the guest ends by the second, and the machine stays for attach. What
    another tool sees of the last events then.
    """
    console = Attached(run.port, folder / "console")
    try:
        console.waits_for(b"type here")
        console.type(b"a line of more than sixteen bytes\n")
        console.waits_for(b"typed: a line of more than sixteen bytes, tsc")
        console.type(b"end\n")
        console.waits_for(b"typed: end, tsc")
        wait_for(lambda: "the run is over" in console.said.read_text(), WAIT_S, "the end")
        assert run.process.poll() is None
        last = last_events(run.port)
        assert console.leave() == 0
    finally:
        console.close()
    assert run.process.wait(END_S) == 0, run.said
    assert "until attach leaves" in run.said
    return last


def last_events(port: int) -> str:
    """What `monitor events 3` says to a gdb of another tool's."""
    with LinkClient(lambda: open_stream(f":{port}")) as link:
        try:
            return LinkTarget(link).query("events", "3")
        except TargetError as error:
            return str(error)


def test_typing_in_a_live_run(tmp_path: Path) -> None:
    arguments = ["live", "--multiboot", tiny_guest("typed"), "--memory", 16]
    with attachable(tmp_path / "live", *arguments) as run:
        assert type_until_the_end(run, tmp_path) == "a live run has no log"
    assert "the guest ended (halt)" in run.said


def test_what_is_typed_is_recorded(tmp_path: Path) -> None:
    """And a replay has it without anybody who types, and takes nothing more."""
    arguments = ["record", "--multiboot", tiny_guest("typed"), "--memory", 16]
    with attachable(tmp_path / "record", *arguments, "-o", tmp_path / "r") as run:
        last = type_until_the_end(run, tmp_path)
    events = events_of(tmp_path / "r")
    assert last.splitlines() == [event_line(event) for event in events[-3:]]
    inputs = [event.payload for event in events if isinstance(event.payload, In)]
    keys = bytes(payload.value for payload in inputs if payload.port == SERIAL)
    assert keys == b"a line of more than sixteen bytes\nend\n"
    assert read_manifest(tmp_path / "r").end_reason == "halt"
    assert_identical(replay(tmp_path / "r", 5, tmp_path / "replay"))

    with attachable(tmp_path / "again", "replay", tmp_path / "r", "--json", "--wait") as run:
        console = Attached(run.port, tmp_path / "refused")
        try:
            console.type(b"x")
            why = "lvmm: a replay takes no input"
            wait_for(lambda: why in console.said.read_text(), WAIT_S, "the refusal")
            arguments = ["attach", "--serial", f":{run.port}", "--json"]
            state = start_cli(arguments, tmp_path / "state")
            assert state.wait(WAIT_S) == 0
            facts = json.loads((tmp_path / "state.out").read_text())
            assert (facts["mode"], facts["state"], facts["branches"]) == ("replay", "stopped", 0)
        finally:
            console.close()
