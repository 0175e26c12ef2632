"""How far long work is, on a terminal; silence where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable


def progress_on_terminal(what: str) -> Callable[[int, int], None] | None:
    """Shows the part done of all in percent, on standard error."""
    if not sys.stderr.isatty():
        return None
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent != shown:
            shown = percent
            end = "\n" if done >= total else ""
            print(f"\r{what}: {percent} %", end=end, file=sys.stderr, flush=True)

    return show
