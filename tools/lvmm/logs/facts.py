"""What is known of a recording without reading all of its events."""

from __future__ import annotations

import dataclasses
from typing import Any

from lvmm.logs.header import enum_name
from lvmm.logs.layout import End, EndReason, Mode, RegionState
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
