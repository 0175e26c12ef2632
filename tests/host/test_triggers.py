"""The texts of triggers, and what the monitor is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvmm import cli
from lvmm.errors import UsageError
from lvmm.guest import Guest
from lvmm.guest_build import tiny_guest
from lvmm.triggers import PATTERN_MAX, Kind, Trigger, Triggers, address_of, parse_trigger


@pytest.mark.parametrize(
    ("text", "trigger"),
    [
        ("console login: ", Trigger(Kind.CONSOLE, b"login:")),
        ("console  two", Trigger(Kind.CONSOLE, b" two")),
        ("console ä", Trigger(Kind.CONSOLE, "ä".encode())),
        ("packet 08 00dead", Trigger(Kind.PACKET, b"\x08\x00\xde\xad")),
        ("break  panic", Trigger(Kind.BREAK, place="panic")),
        ("break 0xffffffff81000000", Trigger(Kind.BREAK, place="0xffffffff81000000")),
    ],
)
def test_triggers(text: str, trigger: Trigger) -> None:
    assert parse_trigger(text) == trigger


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no trigger"),
        ("consoles x", "is no trigger"),
        ("console", "1 to 64 bytes"),
        (f"console {'x' * (PATTERN_MAX + 1)}", "1 to 64 bytes"),
        ("packet 080", "two hexadecimal digits"),
        ("packet xy", "two hexadecimal digits"),
        ("break", "an address"),
        ("break 12", "an address"),
        ("break a b", "an address"),
    ],
)
def test_what_is_no_trigger(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_trigger(text)


def test_the_monitors_words() -> None:
    text, packet = parse_trigger("console ok"), parse_trigger("packet 0806")
    there = parse_trigger("break 0x1000")
    assert Triggers().words() == {}
    assert Triggers(text, packet).words() == {"start-console": "6f6b", "stop-packet": "0806"}
    assert Triggers(there, text).words() == {
        "stop-console": "6f6b",
        "on-demand": "1",
        "wait": "1",
    }
    assert Triggers(stop=there).words() == {"wait": "1"}


def test_where_a_breakpoint_is(tmp_path: Path) -> None:
    linux = Guest("linux", tmp_path / "bzImage", "", 256)
    assert address_of("0x1000", linux) == 0x1000
    with pytest.raises(UsageError, match="is decided as it boots"):
        address_of("panic", linux)
    (tmp_path / "kernel.elf").write_text("no program")
    program = Guest("multiboot", tmp_path / "kernel.elf", "", 16)
    with pytest.raises(UsageError, match="break main: no symbols"):
        address_of("main", program)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["record", "--start-at", "nothing"], "is no trigger"),
        (["record", "--stop-at", "break main", "--gdb", "5"], "go without --gdb"),
        (["build", "--start-at", "break main"], "monitor record start"),
    ],
)
def test_wrong_command_lines(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["-o", str(tmp_path / "output")]
    assert cli.main([*words, *output, "--multiboot", str(tiny_guest("hello"))]) == 2
    assert said in capsys.readouterr().err
