"""Shows a divergence: by lvmm.divergence where it is there, else as the monitor's own message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def render_divergence(message: dict[str, Any], recording: Path) -> str:
    """The report for people; `message` is the monitor's."""
    del recording
    return json.dumps(message, indent=2)
