"""The description of the debug link, and what is generated from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from logs_format.description import DescriptionError
from logs_format.link_description import load_link
from tests.host import cbuild

from lvmm.link import layout

pytestmark = pytest.mark.host

SOURCE = cbuild.ROOT / "logs_format" / "link.toml"


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str], Path]:
    """A copy of the description with one place changed."""

    def change(old: str, new: str) -> Path:
        text = SOURCE.read_text()
        assert text.count(old) >= 1
        path = tmp_path / "link.toml"
        path.write_text(text.replace(old, new, 1))
        return path

    return change


def test_the_python_layouts_are_up_to_date(tmp_path: Path) -> None:
    output = tmp_path / "layout.py"
    generator = cbuild.ROOT / "logs_format" / "generate.py"
    subprocess.run([sys.executable, str(generator), "--link-python", str(output)], check=True)
    kept = cbuild.ROOT / "tools" / "lvmm" / "link" / "layout.py"
    assert output.read_text() == kept.read_text(), (
        "run: python3 logs_format/generate.py --link-python tools/lvmm/link/layout.py"
    )


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("opcode = 3\n", "opcode = 2\n", "do not count from 1"),
        ('channel = "LOG"', 'channel = "LGO"', "unknown channel 'LGO'"),
        ('reply = "registers"', 'reply = "regs"', "unknown structure 'regs'"),
        ("PAYLOAD_MAX = [4160", "PAYLOAD_MAX = [4100", "more than PAYLOAD_MAX"),
        ('["rip", "u64", ""]', '["rip", "u65", ""]', "unknown type 'u65'"),
        ("opcode = 3\n", "opcode = \n", "link.toml"),
    ],
)
def test_a_description_that_contradicts_itself(
    changed: Callable[[str, str], Path], old: str, new: str, text: str
) -> None:
    with pytest.raises(DescriptionError, match=text):
        load_link(changed(old, new))


def test_the_digest_is_of_all_but_texts(changed: Callable[[str, str], Path]) -> None:
    digest = load_link(SOURCE).digest
    assert digest == layout.LAYOUT_DIGEST
    for old, new in (
        ('"the debugger broke in"', '"another text"'),
        ('doc = "What the guest does now."', 'doc = "Another text."'),
        ('["rip", "u64", ""]', '["rip", "u64", "another text"]'),
    ):
        assert load_link(changed(old, new)).digest == digest
    for old, new in (
        ("protocol_version = 1", "protocol_version = 2"),
        ("STEP = [2,", "STEP = [20,"),
        ("WATCHDOG = [", "WATCH_DOG = ["),
        ('["end_reason", "u8"', '["end_reason", "u16"'),
        ("request_data = true\n", ""),
    ):
        assert load_link(changed(old, new)).digest != digest
