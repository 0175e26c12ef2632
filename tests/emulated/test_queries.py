"""Queries over replays of small guests; test_linux.py asks a replay of Debian's kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.emulated.machine import BOARD, RECORD_TIMEOUT_S, events_of, record_tiny, tiny
from tests.emulated.test_polled_dma import frames_to
from tests.emulated.test_watches import address_of

from lvmm import cli, netpeer, session
from lvmm.logs.layout import NOTES, Dma
from lvmm.session import RunSettings

PAGE = 4096
BUFFER = 2048

pytestmark = pytest.mark.xdist_group(__name__)  # one worker: they share a recording


def find(directory: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    """The answers to the queries, which are found out in one replay."""
    capsys.readouterr()
    assert cli.main(["replay", str(directory), "--seed", "5", "--json", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["complete"]
    return list(facts["queries"])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield record_tiny("watched", tmp_path_factory.mktemp("queries") / "recording")


def test_writes_changes_and_calls(watched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = address_of("watched", "wide")
    words = ["--find", f"write wide {3 * PAGE}", "--find", f"change {wide + 5000:#x} 1"]
    words += ["--find", "call print", "--find", "write many+0x3f000 4"]
    every, one, calls, last = find(watched, capsys, *words)
    writes = [(int(w["address"], 16) - wide, w["old"], w["new"]) for w in every["findings"]]
    status = writes[2][2]
    assert writes == [
        (5000, "0x0", "0x1"),
        (5000, "0x1", "0x1"),
        (PAGE - 1, "0x0", status),
        (PAGE, "0x0", status),
        writes[4],
        (9100, "0x0", "0x1"),
    ]
    assert 9000 <= writes[4][0] < 9004, "of the version, the bytes that are not zero"
    assert all(w["code"].startswith("guest_main+") for w in every["findings"])
    assert [(w["old"], w["new"]) for w in one["findings"]] == [("0x0", "0x1")]
    assert [(w["old"], w["new"]) for w in last["findings"]] == [("0x0", "0x3")]
    (call,) = calls["findings"]
    assert call["caller_code"].startswith("guest_main+")
    values = [int(argument["value"], 16) for argument in call["arguments"]]
    assert values[1] == int(status, 16), "the first that it prints, on the stack"
    events = events_of(watched)
    for found in (*every["findings"], call):
        before, after = events[max(found["event"] - 1, 0)], events[found["event"]]
        assert before.branches <= found["branches"] <= after.branches
    seconds = [w["seconds"] for w in every["findings"]]
    assert seconds == sorted(seconds)
    assert every["since_event"] == 0


def test_who_runs_at_events(watched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One event of each kind, and one after the other."""
    events = [event for event in events_of(watched) if event.kind not in NOTES]
    wanted = {event.kind: event for event in events if not event.same_position}
    words = [f"--find=running {event.index}" for event in wanted.values()]
    answers = find(watched, capsys, *words)
    assert len(wanted) >= 3
    for event, answer in zip(wanted.values(), answers, strict=True):
        (found,) = answer["findings"]
        assert (found["event"], found["kind"]) == (event.index, event.name)
        assert (found["branches"], found["rip"]) == (event.branches, f"{event.rip:#x}")
        assert (found["privilege"], answer["count"]) == (0, 1)
        assert "+" in found["code"]


def test_the_last_write_by_a_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = netpeer.free_port()
    settings = RunSettings(net_port=port, seed=1, timeout_s=RECORD_TIMEOUT_S)
    with frames_to(port, seed=port):
        session.record(BOARD, tiny("polling"), settings, tmp_path / "recording")
    buffers = address_of("polling", "buffers")
    query = f"change buffers {BUFFER}"
    (answer,) = find(tmp_path / "recording", capsys, "--find", query, "--last")
    (last,) = answer["findings"]
    writes = [
        event
        for event in events_of(tmp_path / "recording")
        if isinstance(event.payload, Dma) and event.payload.gpa == buffers
    ]
    assert answer["count"] == len(writes)
    event = writes[-1]
    assert isinstance(event.payload, Dma)
    assert (last["branches"], last["rip"]) == (event.branches, f"{event.rip:#x}")
    assert last["by"] == "device"
    at = int(last["address"], 16) - buffers
    changed = bytes.fromhex(last["new"])
    assert event.payload.data[at : at + len(changed)] == changed
    assert len(changed) > 40


def test_names_that_are_not_there(watched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(watched), "--find", "call prnt"]) == 2
    said = capsys.readouterr().err
    assert "watched.elf has no symbol prnt (there are print)" in said
    assert cli.main(["replay", str(watched), "--find", "call print", "--gdb", "5"]) == 2
    assert "--find goes without --gdb" in capsys.readouterr().err
    assert cli.main(["replay", str(watched), "--last"]) == 2
    assert "--last and --limit go with --find" in capsys.readouterr().err
