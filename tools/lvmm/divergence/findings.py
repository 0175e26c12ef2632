"""What the facts of a divergence mean, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lvmm.divergence.message import Input
from lvmm.divergence.scene import Scene
from lvmm.logs import Registers
from lvmm.logs.header import enum_name
from lvmm.logs.layout import End, EndReason, FinalState
from lvmm.recorded_context import describe_payload
from lvmm.register_check import Difference, differences

_STATE_NOT_PRINTED = "cr0, cr2, cr4, cr8, efer, dr7, segments, gdtr, idtr"


def findings(scene: Scene, registers: dict[str, Any]) -> Iterator[str]:
    """What the facts mean, one sentence each."""
    divergence = scene.divergence
    if divergence.expected is None:
        yield from _at_the_end(scene)
    else:
        yield from _inputs(scene, divergence.expected, divergence.actual)
        yield from _positions(scene)
        if divergence.same_position:
            yield from _same_place(scene, registers)
    yield from _found_elsewhere(scene)


def _at_the_end(scene: Scene) -> Iterator[str]:
    divergence = scene.divergence
    if scene.event is None or not isinstance(scene.event.payload, End):
        yield f"the recording has no event {divergence.event}: it was over, or damaged there"
        return
    reason = divergence.actual.reason if divergence.actual else None
    if reason is not None and reason != scene.event.payload.reason:
        yield (
            f"recorded end: {enum_name(EndReason, scene.event.payload.reason)}, "
            f"replayed: {enum_name(EndReason, reason)}"
        )
    state = FinalState.unpack(scene.event.payload.state)
    recorded = Registers(state.gpr, state.rip, state.rflags)
    found = [
        *differences(recorded, divergence.registers),
        *(
            Difference(name, then, now)
            for name, then, now in (
                ("rip", state.rip, divergence.registers.rip),
                ("cr3", state.cr3, divergence.cr3),
            )
            if then != now
        ),
    ]
    for each in found:
        yield (f"final {each.name}: recorded {each.recorded:#x}, replayed {each.replayed:#x}")
    if state.branches != divergence.branches:
        yield f"branches at the end: recorded {state.branches}, replayed {divergence.branches}"
    elif not found and "state" in divergence.why:
        yield (
            "the general registers, RIP, RFLAGS and CR3 are equal: what differs is in the part "
            f"of the final state that the monitor does not print ({_STATE_NOT_PRINTED})"
        )


def _inputs(scene: Scene, expected: Input, actual: Input | None) -> Iterator[str]:
    divergence = scene.divergence
    if actual is None:
        if divergence.expected_async:
            yield f"the replay was on its way to an asynchronous event ({expected})"
    elif divergence.expected_async:
        yield (
            f"the guest asked for {actual}, but the recording has {expected} first, "
            "between two instructions"
        )
    elif actual.kind != expected.kind:
        yield f"the guest asked for {actual}, the recording has {expected}"
    else:
        for name in ("address", "size"):
            then, now = getattr(expected, name), getattr(actual, name)
            if then != now:
                yield f"{name} of the {actual.kind}: recorded {then:#x}, replayed {now:#x}"


def _positions(scene: Scene) -> Iterator[str]:
    divergence = scene.divergence
    since = f" since event {scene.last.index}" if scene.last is not None else ""
    ahead = divergence.branches - divergence.expected_branches
    place = scene.name(divergence.expected_rip)
    distance = f"{abs(ahead)} conditional branch{'' if abs(ahead) == 1 else 'es'}"
    if ahead and divergence.expected_async:
        where = "before" if ahead < 0 else "past"
        yield f"the replay is {distance} {where} that event's position ({place})"
    elif ahead > 0:
        yield (
            f"the replay comes to an input {distance} later than the recording: it took "
            f"another path{since}, or did not ask where it should have"
        )
    elif ahead:
        yield (
            f"the replay comes to an input {distance} earlier than the recording: it took "
            f"another path{since}, or the recording lacks an event"
        )
    elif divergence.registers.rip != divergence.expected_rip:
        yield (
            f"the same number of branches, but the replay is at "
            f"{scene.name(divergence.registers.rip)} and the event is at {place}"
        )


def _same_place(scene: Scene, registers: dict[str, Any]) -> Iterator[str]:
    if registers["stored"]:
        changed = [each["name"] for each in registers["differing"]]
        if changed:
            yield f"the position is right, but these registers differ: {', '.join(changed)}"
        elif registers["check_differs"]:
            yield (
                "position and registers are right, but the check differs: the guest's output "
                "before this (port and memory-mapped writes) was another one"
            )
    elif registers["check_differs"]:
        yield (
            "the position is right, but the 16-bit check of registers and output differs; "
            "this event stores no registers, so which of them differ is not recorded"
        )


def _found_elsewhere(scene: Scene) -> Iterator[str]:
    """Whether the replay is where another event was recorded."""
    position = (scene.divergence.branches, scene.divergence.registers.rip)
    if scene.divergence.same_position:
        return
    for event in (*scene.context.last, *scene.context.following):
        if (event.branches, event.rip) == position and not event.asynchronous:
            about = f"{event.name} {describe_payload(event.payload)}".strip()
            yield f"the replay is at the position of event {event.index} ({about})"
            return
