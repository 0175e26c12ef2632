"""The documents: the commands that they show are taken, and the files that they name are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.host.extract_tool import load_tool

from lvmm.cli import command_line
from lvmm.guest_build import ROOT

DOCUMENTS = [
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / name for name in ("README.md", "guest_support/README.md", "boards/bochs/README.md")),
]
PROGRAMS = ("./lvmm", "tools/extract_log.py")
PLACEHOLDERS = ("...", "[", "NAME")
FOLDERS = "hypervisor|tools|tests|docs|boards|guest_support|logs_format|rescue"

pytestmark = pytest.mark.host


def commands(document: Path) -> Iterator[list[str]]:
    """Those in indented blocks, without what is said beside them."""
    text = document.read_text().replace("\\\n", "")
    for line in re.findall(r"^    (.*)$", text, re.MULTILINE):
        command = re.split(r" {3,}| # | \| | > |;", line)[0]
        if command.startswith(PROGRAMS) and not any(one in command for one in PLACEHOLDERS):
            yield shlex.split(command)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_taken(document: Path) -> None:
    parsers = {PROGRAMS[0]: command_line(), PROGRAMS[1]: load_tool()._parser()}
    for program, *words in commands(document):
        try:
            options, _ = parsers[program].parse_known_args(words)
        except SystemExit as end:
            assert end.code == 0, (program, words)  # --help
        else:
            assert options.command


def test_there_are_commands() -> None:
    assert sum(len(list(commands(document))) for document in DOCUMENTS) > 30


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_and_links_are_there(document: Path) -> None:
    text = document.read_text()
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text)
    missing = [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    missing += [link for link in links if not (document.parent / link).exists()]
    assert missing == []
