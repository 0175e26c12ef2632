"""The names of files and directories that are to be written."""

from __future__ import annotations

import argparse
from pathlib import Path


def output_path(text: str) -> Path:
    """For argparse. An empty text, as of a variable that is not set, would be the current
    directory.
    """
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)
