"""The registers of a replay beside those that the recording stores."""

from __future__ import annotations

from typing import Any

from lvmm.divergence.scene import Scene
from lvmm.logs import Event
from lvmm.register_check import NAMES, Difference, differences, explanations, flag_names
from lvmm.report_facts import hexadecimal


def register_report(scene: Scene) -> dict[str, Any]:
    """In what they differ, and what could explain a check that differs."""
    divergence = scene.divergence
    recorded = divergence.expected_registers
    if recorded is None and scene.event is not None:
        recorded = scene.event.registers
    at_end = divergence.expected is None and scene.event is not None
    checks = divergence.check, divergence.recorded_check
    facts: dict[str, Any] = {
        "stored": recorded is not None,
        "same_position": divergence.same_position or at_end,
        "check_differs": checks[0] != checks[1] if None not in checks else None,
        "differing": [],
    }
    if recorded is not None:
        found = differences(recorded, divergence.registers)
        facts["differing"] = [_difference(each) for each in found]
        facts["equal"] = _all_but(found)
    elif scene.context.snapshot is not None:
        facts["last_snapshot"] = _compared(scene, scene.context.snapshot)
        if scene.context.site_snapshot not in (None, scene.context.snapshot):
            facts["site_snapshot"] = _compared(scene, scene.context.site_snapshot)
    if recorded is None and divergence.same_position and facts["check_differs"]:
        facts["explanations"] = _explanations(scene)
    return facts


def _compared(scene: Scene, snapshot: Event | None) -> dict[str, Any]:
    assert snapshot is not None and snapshot.registers is not None
    found = differences(snapshot.registers, scene.divergence.registers)
    return {
        "event": snapshot.index,
        "branches": snapshot.branches,
        **scene.place(snapshot.rip),
        "changed": [
            {
                "name": each.name,
                "then": hexadecimal(each.recorded),
                "now": hexadecimal(each.replayed),
            }
            for each in found
        ],
        "unchanged": _all_but(found),
    }


def _explanations(scene: Scene) -> list[dict[str, Any]]:
    divergence = scene.divergence
    assert divergence.check is not None and divergence.recorded_check is not None
    snapshots = [
        (f"event {event.index}", event.registers)
        for event in (scene.context.site_snapshot, scene.context.snapshot)
        if event is not None and event.registers is not None
    ]
    checks = divergence.check ^ divergence.recorded_check
    found = explanations(divergence.registers, checks, snapshots, scene.bits)
    return [{**_difference(each.difference), "why": each.why} for each in found]


def _difference(difference: Difference) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": difference.name,
        "recorded": hexadecimal(difference.recorded),
        "replayed": hexadecimal(difference.replayed),
    }
    if difference.name == "rflags":
        facts["flags"] = flag_names(difference)
    return facts


def _all_but(found: list[Difference]) -> list[str]:
    names = {each.name for each in found}
    return [name for name in NAMES if name not in names]
