"""Emit the Python layouts of the log."""

from __future__ import annotations

from description import Description


def emit_python(description: Description) -> str:
    """Return the text of tools/lvmm/logs/layout.py."""
    raise NotImplementedError(description.format_version)
