"""extract_log.py verify."""

from __future__ import annotations

import sys

from lvmm.logs.counts import Counter
from lvmm.logs.facts import facts_of
from lvmm.logs.layout import EventKind
from lvmm.logs.printing import Progress, finish, flat, note, print_json, print_table
from lvmm.logs.recording import Recording
from lvmm.logs.statistics import PythonCounter, count, fast_counter


def verify(recording: Recording, as_json: bool, decode: bool) -> int:
    """Check every chunk, and decode every event where that is fast, or with `decode`.

    Says whether all are there; the exit code.
    """
    counter: Counter | None = fast_counter() or (PythonCounter() if decode else None)
    facts = facts_of(recording)
    facts["decoded"] = counter is not None
    ended = facts["ended"] is not None
    if counter is not None:
        with Progress("verify", recording.log_bytes, sys.stderr) as progress:
            found = count(recording, counter, tables=False, progress=progress.at)
        ended = found.last_kind is EventKind.END
        facts["ended"] = facts["ended"] if ended else None
        facts["events"] = found.events
        facts["last_branches"] = found.last_branches
        facts["last_rip"] = f"{found.last_rip:#x}"
        facts |= {name: facts_of(recording)[name] for name in ("complete", "losses")}
    if as_json:
        print_json(facts)
    else:
        print_table(flat(facts))
    if counter is None:
        note("checked by CRC only: no C compiler here; --decode decodes every event, slowly")
    if not ended:
        note("no END event: the recording was cut short")
    return finish(recording)
