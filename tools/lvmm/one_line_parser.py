"""A parser of arguments that says in one line what is wrong.

The whole usage, which argparse shows, fills a screen where there are many options.
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """argparse's, but for its errors."""

    def error(self, message: str) -> NoReturn:
        """Says it and ends the program by exit code 2."""
        name = self.prog.split()[0].removesuffix(".py")
        print(f"{name}: {' '.join(message.split())} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)
