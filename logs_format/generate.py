#!/usr/bin/env python3
"""Generate the log's C header and Python layouts from events.toml.

    generate.py --c OUT.h         the C header of the monitor and its host tests
    generate.py --python OUT.py   the Python layouts (tools/lvmm/logs/layout.py is a copy of it)

Exit codes: 0 written, 1 the description is wrong or OUT cannot be written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from logs_format.description import Description, DescriptionError, load
from logs_format.emit_c import emit_c
from logs_format.emit_python import emit_python

DESCRIPTION = Path(__file__).resolve().parent / "events.toml"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Generate the log's layouts from events.toml.")
    parser.add_argument("--c", metavar="OUT.h", type=Path, help="write the C header")
    parser.add_argument("--python", metavar="OUT.py", type=Path, help="write the Python layouts")
    options = parser.parse_args(arguments)
    if options.c is None and options.python is None:
        parser.error("nothing to do: give --c or --python")
    try:
        description: Description = load(DESCRIPTION)
        if options.c is not None:
            options.c.parent.mkdir(parents=True, exist_ok=True)
            options.c.write_text(emit_c(description))
        if options.python is not None:
            options.python.write_text(emit_python(description))
    except (DescriptionError, OSError) as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
