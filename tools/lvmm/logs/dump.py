"""extract_log.py dump."""

from __future__ import annotations

import json

from lvmm.logs.event_text import event_json, event_line
from lvmm.logs.printing import finish
from lvmm.logs.recording import Recording
from lvmm.logs.selection import Selection


def dump(recording: Recording, as_json: bool, selection: Selection) -> int:
    """Print events, one a line; the exit code."""
    for event in selection.of(recording):
        print(json.dumps(event_json(event)) if as_json else event_line(event))
    return finish(recording)
