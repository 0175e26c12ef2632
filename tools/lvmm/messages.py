"""What is said to the user: on stderr, since stdout is for results."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """Shows one line, at once."""
    print(f"lvmm: {' '.join(message.split())}", file=sys.stderr, flush=True)
