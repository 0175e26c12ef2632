"""The report of a divergence, as JSON values."""

from __future__ import annotations

from typing import Any

from lvmm.divergence.findings import findings
from lvmm.divergence.registers import register_report
from lvmm.divergence.scene import Scene
from lvmm.report_facts import hexadecimal, register_facts


def report_facts(scene: Scene) -> dict[str, Any]:
    """All of it but the code and the notes."""
    divergence = scene.divergence
    registers = register_report(scene)
    number = scene.event.index if scene.event is not None else divergence.event
    return {
        "why": divergence.why,
        "event": number,
        "kind": _kind(scene),
        "recorded": _recorded(scene),
        "replayed": _replayed(scene),
        "same_position": divergence.same_position,
        "last_good": scene.event_facts(scene.last) if scene.last is not None else None,
        "branches_after_last_good": (
            divergence.branches - scene.last.branches if scene.last is not None else None
        ),
        "findings": list(findings(scene, registers)),
        "registers": registers,
        "last_events": [scene.event_facts(event) for event in scene.context.last],
        "earlier_events": [scene.event_facts(event) for event in scene.context.earlier],
        "kernel_offset": hexadecimal(scene.names.kernel_offset),
    }


def _kind(scene: Scene) -> str | None:
    if scene.event is not None:
        return scene.event.name
    return scene.divergence.expected.kind if scene.divergence.expected else None


def _recorded(scene: Scene) -> dict[str, Any] | None:
    if scene.event is not None:
        return scene.event_facts(scene.event)
    divergence = scene.divergence
    if divergence.expected is None:
        return None
    return {
        "index": divergence.event,
        "kind": divergence.expected.kind,
        "about": str(divergence.expected),
        "branches": divergence.expected_branches,
        **scene.place(divergence.expected_rip),
        "async": divergence.expected_async,
        "check": hexadecimal(divergence.recorded_check),
    }


def _replayed(scene: Scene) -> dict[str, Any]:
    divergence = scene.divergence
    return {
        "kind": divergence.actual.kind if divergence.actual else None,
        "about": str(divergence.actual) if divergence.actual else None,
        "branches": divergence.branches,
        **scene.place(divergence.registers.rip),
        "check": hexadecimal(divergence.check),
        "cr3": hexadecimal(divergence.cr3),
        "registers": register_facts(divergence.registers),
    }
