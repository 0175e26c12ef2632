#!/usr/bin/env python3
"""Generate C headers and Python layouts from events.toml (the log) and link.toml (the debug link).

    generate.py --c OUT.h              the log: the C header of the monitor and its host tests
    generate.py --python OUT.py        the Python layouts (tools/lvmm/logs/layout.py is a copy)
    generate.py --link-c OUT.h         the debug link: the C header
    generate.py --link-python OUT.py   the Python layouts (tools/lvmm/link/layout.py is a copy)

Exit codes: 0 written, 1 a description is wrong or OUT cannot be written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from logs_format.description import DescriptionError, load
from logs_format.emit_c import emit_c
from logs_format.emit_link import emit_link_c, emit_link_python
from logs_format.emit_python import emit_python
from logs_format.link_description import load_link

FOLDER = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Generate layouts of the log and the debug link.")
    parser.add_argument("--c", metavar="OUT.h", type=Path, help="the log's C header")
    parser.add_argument("--python", metavar="OUT.py", type=Path, help="the log's Python layouts")
    parser.add_argument("--link-c", metavar="OUT.h", type=Path, help="the link's C header")
    parser.add_argument(
        "--link-python", metavar="OUT.py", type=Path, help="the link's Python layouts"
    )
    options = parser.parse_args(arguments)
    if not any(vars(options).values()):
        parser.error("nothing to do: give an output")
    try:
        log = load(FOLDER / "events.toml")
        link = load_link(FOLDER / "link.toml")
        for path, text in (
            (options.c, emit_c(log)),
            (options.python, emit_python(log)),
            (options.link_c, emit_link_c(link)),
            (options.link_python, emit_link_python(link)),
        ):
            if path is not None:
                path.write_text(text)
    except (DescriptionError, OSError) as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
