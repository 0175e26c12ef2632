"""Planted divergences: a replay of a changed log stops, exits with 3 and names what differs."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.emulated.machine import (
    boot_sector,
    events_of,
    record_guest,
    record_tiny,
    replay,
    tampered,
)

from lvmm import cli
from lvmm.logs import Event
from lvmm.logs.layout import End, EventKind, FinalState, In, InString

PIT_COUNTER_0 = 0x40

Change = Callable[[Event], Event]


pytestmark = pytest.mark.xdist_group(__name__)  # one worker: they share recordings


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with every kind of synchronous event."""
    return record_tiny("inputs", tmp_path_factory.mktemp("inputs") / "recording")


@pytest.fixture(scope="module")
def timer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with interrupts."""
    return record_tiny("timer", tmp_path_factory.mktemp("timer") / "recording")


def change_payload(**changes: Callable[[Any], Any]) -> Change:
    def change(event: Event) -> Event:
        values = {name: alter(getattr(event.payload, name)) for name, alter in changes.items()}
        return dataclasses.replace(event, payload=dataclasses.replace(event.payload, **values))

    return change


def flip_check(event: Event) -> Event:
    """With a wrong check, also where it has none."""
    return dataclasses.replace(event, check=1 if event.check is None else event.check ^ 1)


def flip_byte(data: bytes) -> bytes:
    return bytes([data[0] ^ 0xFF]) + data[1:]


# A changed value is seen at a later event: by the registers, the output or the final state.
VALUES: dict[str, Change] = {
    "IN": change_payload(value=lambda value: value ^ 0x40),
    "MMIO_READ": change_payload(value=lambda value: value ^ 0x10),
    "RDMSR": change_payload(value=lambda value: value ^ 0x100),
    "RDTSC": change_payload(tsc=lambda tsc: tsc ^ 0x8),
    "RDTSCP": change_payload(tsc=lambda tsc: tsc ^ 0x8),
    "RDRAND": change_payload(value=lambda value: value ^ 1),
    "RDSEED": change_payload(value=lambda value: value ^ 1),
    # Of page 0, the BIOS's tick count; of the ROM, the reset vector.
    "FIRMWARE_PAGE": change_payload(
        data=lambda data: data[:0x46C] + flip_byte(data[0x46C:0xFF0]) + flip_byte(data[0xFF0:])
    ),
}


def is_used(event: Event) -> bool:
    """Whether the guest prints what it reads: of the ports, that goes for the timer's."""
    return not isinstance(event.payload, In) or event.payload.port == PIT_COUNTER_0


def plant(directory: Path, target: Path, kind: str, change: Change) -> int:
    """Changes the middle one of the events of a kind; returns its index."""
    events = events_of(directory)
    chosen = [event.index for event in events if event.name == kind and is_used(event)]
    assert chosen, f"the recording has no {kind}"
    index = chosen[len(chosen) // 2]
    events[index] = change(events[index])
    tampered(directory, target, events)
    return index


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_changed_value_is_found_later(inputs: Path, tmp_path: Path, kind: str) -> None:
    planted = plant(inputs, tmp_path / "planted", kind, VALUES[kind])
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert not verdict.identical
    assert verdict.divergence is not None
    events = events_of(inputs)
    found = verdict.divergence["event"]
    assert planted < found <= planted + 200
    assert verdict.divergence["kind"] == events[found].name
    assert verdict.divergence["last_good"]["index"] == found - 1
    assert len(verdict.divergence["last_events"]) == min(10, found)
    assert verdict.events_matched == found


@pytest.mark.parametrize("kind", [*sorted(VALUES), "END"])
def test_changed_check_is_found_at_the_event(inputs: Path, tmp_path: Path, kind: str) -> None:
    planted = plant(inputs, tmp_path / "planted", kind, flip_check)
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["event"] == planted
    assert verdict.divergence["kind"] == kind
    assert verdict.events_matched == planted


INTERRUPTS: dict[str, Change] = {
    "check": flip_check,
    "later": lambda event: dataclasses.replace(event, branches=event.branches + 2),
    "elsewhere": lambda event: dataclasses.replace(event, rip=event.rip + 1),
}


@pytest.mark.parametrize("what", sorted(INTERRUPTS))
def test_misplaced_interrupt_is_found(timer: Path, tmp_path: Path, what: str) -> None:
    planted = plant(timer, tmp_path / "planted", "INTERRUPT", INTERRUPTS[what])
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["event"] == planted
    assert verdict.divergence["kind"] == "INTERRUPT"


def test_another_vector_is_found(timer: Path, tmp_path: Path) -> None:
    change = change_payload(vector=lambda vector: vector + 1)
    planted = plant(timer, tmp_path / "planted", "INTERRUPT", change)
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert planted < verdict.divergence["event"] <= planted + 3


def test_divergence_in_real_mode_shows_the_code(tmp_path: Path) -> None:
    recording = record_guest(boot_sector("real_mode"), tmp_path / "recording")
    events = events_of(recording)
    first = next(event for event in events if event.kind == EventKind.IN_STRING)
    assert isinstance(first.payload, InString)
    assert first.payload.port == PIT_COUNTER_0
    events[first.index] = flip_check(first)
    tampered(recording, tmp_path / "planted", events)
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["event"] == first.index
    code = verdict.divergence["code"]
    assert code["bits"] == 16
    (current,) = [line["text"] for line in code["instructions"] if line["current"]]
    assert current.startswith("rep insb")


def test_missing_event_is_found(inputs: Path, tmp_path: Path) -> None:
    events = events_of(inputs)
    index = next(event.index for event in events if event.kind == EventKind.MMIO_READ)
    tampered(inputs, tmp_path / "planted", events[:index] + events[index + 1 :])
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["event"] == index
    assert verdict.divergence["replayed"]["kind"] == "MMIO_READ"


def test_recording_without_its_last_events(inputs: Path, tmp_path: Path) -> None:
    events = events_of(inputs)[:-20]
    tampered(inputs, tmp_path / "planted", events)
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["event"] == len(events)


def test_another_final_state_is_found(inputs: Path, tmp_path: Path) -> None:
    def change(event: Event) -> Event:
        assert isinstance(event.payload, End)
        state = FinalState.unpack(event.payload.state)
        state = dataclasses.replace(state, cr2=state.cr2 ^ 1)
        payload = dataclasses.replace(event.payload, state=state.pack())
        return dataclasses.replace(event, payload=payload)

    planted = plant(inputs, tmp_path / "planted", "END", change)
    verdict = replay(tmp_path / "planted", 5, tmp_path / "run")
    assert verdict.divergence is not None
    assert verdict.divergence["kind"] == "END"
    assert planted <= verdict.divergence["event"] <= planted + 1
    assert not verdict.registers_identical


def test_replay_command_exits_with_3_and_reports(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = plant(inputs, tmp_path / "planted", "MMIO_READ", flip_check)
    assert cli.main(["replay", str(tmp_path / "planted"), "--seed", "1"]) == 3
    report = capsys.readouterr().out
    assert f"DIVERGENCE at event {planted} (MMIO_READ)" in report
    assert "THE REPLAY DIFFERS" in report
