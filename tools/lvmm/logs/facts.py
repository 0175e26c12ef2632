"""What is known of a recording without reading all of its events."""

from __future__ import annotations

import dataclasses
from typing import Any

from lvmm.logs.epochs import epochs_to_the_end
from lvmm.logs.header import enum_name
from lvmm.logs.layout import End, EndReason, MachineFlag, Mode, RegionState
from lvmm.logs.recording import Recording


def facts_of(recording: Recording) -> dict[str, Any]:
    """What is known without reading all events."""
    end = recording.end()
    facts: dict[str, Any] = {
        "recording_id": f"{recording.recording_id:016x}",
        "complete": not recording.losses,
        "ended": enum_name(EndReason, end.payload.reason)
        if end and isinstance(end.payload, End)
        else None,
        "log_bytes": recording.log_bytes,
        "chunks": len(recording.chunks),
        "events": recording.event_count,
        "disordered": recording.disordered,
        "others": {f"{other:016x}": count for other, count in recording.others.items()},
        **_ring_facts(recording),
        "losses": [dataclasses.asdict(loss) for loss in recording.losses],
    }
    if recording.region is not None:
        header = recording.region.header
        facts["region"] = {
            "base": f"{recording.region.base:#x}",
            "size": header.region_size,
            "state": enum_name(RegionState, header.state),
            "mode": enum_name(Mode, header.mode),
            "open_events": recording.open_events,
            "console_bytes": header.console_head,
            "console_lost": recording.region.console_lost,
        }
    return facts


def _ring_facts(recording: Recording) -> dict[str, Any]:
    """What a ring has overwritten and from where on the rest can be replayed; nothing without."""
    if recording.header is None or not recording.header.machine.flags & MachineFlag.OVERWRITES:
        return {}
    gone, epochs = recording.overwritten, epochs_to_the_end(recording)
    first = recording.chunks[epochs[0]].header if epochs else None
    return {
        "overwritten": gone
        and {"chunks": (gone.last_seq or 0) + 1 - (gone.first_seq or 0), "events": gone.events},
        "epochs": len(epochs),
        "oldest_epoch": first and {"event": first.first_event, "branches": first.first_branches},
    }
