"""What has bitten comparable systems, provoked: see docs/determinism.md, which has the list."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.emulated.hostile.machine import boot
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    assert_identical,
    record_tiny,
    replay,
    tiny,
)

from lvmm import replaying, session
from lvmm.board import Board
from lvmm.link.errors import Unsupported
from lvmm.link.layout import Register
from lvmm.replaying import ReplayVerdict
from lvmm.session import RING_MIN_KIB, RingSettings, RunSettings
from lvmm.triggers import Triggers, parse_trigger

NOT_CANONICAL = 1 << 62
END_S = 60.0


def board(**changes: Any) -> Board:
    emulator = dataclasses.replace(BOARD.emulator, **changes)
    return dataclasses.replace(BOARD, emulator=emulator)


def replayed(recording: Path, **changes: Any) -> ReplayVerdict:
    settings = RunSettings(seed=2, timeout_s=RECORD_TIMEOUT_S)
    return replaying.replay(board(**changes), recording, settings)


def test_a_guest_that_leans_on_its_tlb(tmp_path: Path) -> None:
    """What it reads is undefined. A CPU whose TLB keeps the entries replays it; where one does
    not, the difference is reported, not hidden."""
    recording = record_tiny("outdated", tmp_path / "recording")
    words = (recording / "console.log").read_text().split()
    assert (int(words[1]), int(words[6])) == (800, 0), "the entries stayed"
    assert_identical(replayed(recording, tlb_flush=0))
    verdict = replayed(recording, tlb_flush=2000)
    assert not verdict.identical
    assert verdict.divergence is not None or not verdict.memory_identical


def test_an_instruction_that_the_recorded_cpu_lacked(tmp_path: Path) -> None:
    """RDSEED without a look at CPUID: #UD there, and so where the CPU has it, too."""
    recording = tmp_path / "recording"
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S)
    session.record(board(cpu_model="corei7_haswell_4770"), tiny("inputs"), settings, recording)
    assert "unexpected vector 6" in (recording / "console.log").read_text().splitlines()[-1]
    assert_identical(replayed(recording, cpu_model="broadwell_ult"))


def test_a_subleaf_that_the_recorded_cpu_lacked(tmp_path: Path) -> None:
    """Leaf 7 of CPUID has more of them on later CPUs: which there are is the recording's to say."""
    recording = tmp_path / "recording"
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S)
    session.record(board(cpu_model="corei7_skylake_x"), tiny("inputs"), settings, recording)
    zeros = " 00000000" * 4
    assert f"cpuid 00000007 00000001:{zeros}\n" in (recording / "console.log").read_text()
    assert_identical(replayed(recording, cpu_model="sapphire_rapids"))


@pytest.mark.parametrize(
    ("recorded_on", "replayed_on"),
    [
        pytest.param("corei7_skylake_x", "corei7_skylake_x", id="stands still"),
        pytest.param("corei7_haswell_4770", "broadwell_ult", id="exits"),
    ],
)
def test_readings_that_only_their_position_tells_apart(
    recorded_on: str, replayed_on: str, tmp_path: Path
) -> None:
    """With TSC scaling most readings do not exit; without it all do: one rule."""
    recording = tmp_path / "recording"
    settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S)
    session.record(board(cpu_model=recorded_on), tiny("clock"), settings, recording)
    short, first, *taken, second = (recording / "console.log").read_text().splitlines()
    assert int(short.split()[2]) < 100, "a wait of 100 ticks takes as long as it must"
    assert first.startswith("backwards 0 waits ")
    assert second.startswith("backwards 0 digest ")
    assert taken == ["set: taken", "set: taken"]
    assert_identical(replayed(recording, cpu_model=replayed_on))


def test_pdptes_are_the_cpus_own(tmp_path: Path) -> None:
    """Memory has others by the time at which the recording begins."""
    settings = RunSettings(
        seed=1,
        timeout_s=RECORD_TIMEOUT_S,
        triggers=Triggers(parse_trigger("console pae: begin")),
    )
    recording = tmp_path / "recording"
    manifest = session.record(BOARD, tiny("pae"), settings, recording)
    assert manifest.end_reason == "reset"
    console = (recording / "console.log").read_text()
    assert console.splitlines()[-1].startswith("pae: 0, places ")
    assert "unexpected" not in console
    assert_identical(replay(recording, 2, tmp_path / "replay"))


def test_an_nmi_waits_for_the_iret_that_exits(tmp_path: Path) -> None:
    """An exit of the IRET leaves NMIs unblocked (SDM vol. 3, section 28.2.3): the monitor blocks
    them again."""
    settings = RunSettings(
        seed=1,
        timeout_s=RECORD_TIMEOUT_S,
        ring=RingSettings(RING_MIN_KIB, epoch_events=1),
    )
    recording = tmp_path / "recording"
    manifest = session.record(BOARD, tiny("nmi"), settings, recording)
    assert manifest.end_reason == "reset"
    assert manifest.events["NMI"] >= 40
    assert manifest.events["EPOCH"] > 100
    words = (recording / "console.log").read_text().replace(",", "").split()
    nmis, nested, accessed = (int(words[at]) for at in (1, 3, 5))
    assert nmis >= 40
    assert nested == 0
    assert accessed == nmis, "each IRET has written to the descriptor"
    assert_identical(replay(recording, 2, tmp_path / "replay"))


def test_a_vm_entry_that_the_cpu_refuses(tmp_path: Path) -> None:
    """The guest stays as it was, and the debugger answers."""
    with boot("live", "mode=spin", tmp_path) as machine:
        machine.run(0)
        machine.client.connect()
        stopped = machine.client.wait_for_stop(machine.client.interrupt(), END_S)
        with pytest.raises(Unsupported):
            machine.client.write_register(Register.KERNEL_GS_BASE, NOT_CANONICAL)
        machine.client.write_register(Register.FS_BASE, NOT_CANONICAL)
        machine.client.resume()
        assert machine.wait(lambda: machine.end is not None, END_S), stopped
        assert machine.end == "error"
        message = machine.message("error")
        assert message is not None
        assert "VM-entry failure: guest state" in str(message)
        assert machine.client.read_registers().rip == stopped.rip
        machine.check()
