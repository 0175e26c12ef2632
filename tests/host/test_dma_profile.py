"""Tests of tools/lvmm/profile_compiler.py: what it accepts, and what it says about the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.host.cbuild import ROOT
from tests.host.dma_world import TOY_PROFILE

from lvmm.monitor_build import first_problem
from lvmm.profile_compiler import compile_files, compile_profile, main
from lvmm.profile_lines import key_lines
from lvmm.profile_table import ProfileError, Source

pytestmark = pytest.mark.host


PROFILES = sorted((ROOT / "boards" / "profiles").glob("*.toml"))


def profile_text(name: str) -> str:
    return (ROOT / "boards" / "profiles" / f"{name}.toml").read_text()


def e1000() -> dict[str, Any]:
    return tomllib.loads(profile_text("e1000"))


def change(values: dict[str, Any], path: str, value: object) -> None:
    """Set the key at a dotted path; a number is an index of a list, None removes the key."""
    *parents, last = path.split(".")
    node: Any = values
    for key in parents:
        node = node[int(key)] if key.isdigit() else node[key]
    if value is None:
        del node[last]
    else:
        node[int(last) if last.isdigit() else last] = value


def test_the_project_s_profiles_compile_without_warnings(tmp_path: Path) -> None:
    output = tmp_path / "new" / "dma_profiles.c"
    command = [sys.executable, "-m", "lvmm.profile_compiler", *map(str, PROFILES)]
    done = subprocess.run(
        [*command, "-o", str(output)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fsyntax-only"]
    subprocess.run(
        ["gcc", *flags, "-I", str(ROOT / "hypervisor"), str(output)], check=True, timeout=60
    )


def test_profiles_are_sorted_by_name(tmp_path: Path) -> None:
    toy = tmp_path / "toy.toml"
    toy.write_text(TOY_PROFILE)
    text = compile_files([toy, *PROFILES])
    names = re.findall(r'^        \.name = "(\w+)",$', text.split("dma_profiles[]")[1], re.M)
    assert names == sorted(names)
    assert {"toy", "e1000"} <= set(names)
    assert compile_files([*PROFILES, toy]) == text


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("vendor", None, "vendor: missing"),
        ("vendor", 0x18086, "vendor: 0x18086 is outside 0x0 to 0xffff"),
        ("vendor", "0x8086", "vendor: not an integer"),
        ("vendor", True, "vendor: not an integer"),
        ("name", "e 1000", "name: not a string of the form"),
        ("devices", [], "devices: not a list of integers"),
        ("devices", [0x100E, "x"], "devices[1]: not an integer"),
        ("register_size", 0x18000, "register_size: 0x18000 is not a power of two"),
        ("reset", 4, "reset: not a table"),
        ("reset.mask", 0, "reset.mask: 0x0 is outside"),
        ("reset.bit", 26, "reset.bit: unknown key"),
        ("colour", "blue", "colour: unknown key"),
        ("aliases.0.alias", 2, "aliases[0].alias: 0x2 is not a multiple of 4"),
        ("io_window.data", None, "io_window.data: missing"),
        ("ring", [], "ring: not a list of tables"),
        ("ring", None, "ring: missing, as are channel, slots, queues and schedule"),
        ("ring", 1, "ring: not a list of tables"),
        ("ring", [1], "ring: not a list of tables"),
        ("ring.1.name", "rx", "ring[1].name: two rings are called rx"),
        ("ring.0.direction", "both", "ring[0].direction: not a string of the form rx|tx"),
        ("ring.0.head", 0x20000, "ring[0].head: 0x20000 is outside"),
        ("ring.0.head", 0x2800, "ring[0].head: 0x2800 is already the base_lo of ring rx"),
        ("ring.1.tail", 0x2818, "ring[1].tail: 0x2818 is already the tail of ring rx"),
        ("ring.0.base_align", 24, "ring[0].base_align: 0x18 is not a power of two"),
        ("ring.0.descriptor_size", 65, "ring[0].descriptor_size: 0x41 is outside 0x1 to 0x40"),
        ("ring.0.address.width", 3, "ring[0].address.width: 3 is none of 4, 8"),
        ("ring.0.address.offset", 10, "ring[0].address.width: ends after the descriptor's 16"),
        ("ring.0.done.offset", 16, "ring[0].done.offset: 0x10 is outside 0x0 to 0xf"),
        ("ring.0.done.offset", 4, "ring[0].done: is not in the bytes of write_back"),
        ("ring.0.null_address_is_skipped", 1, "ring[0].null_address_is_skipped: not true or"),
        ("ring.0.forms", [], "ring[0].forms: unknown key"),
        ("ring.0.buffer_size.mask", 0x3FF, "ring[0].buffer_size.mask: more than 8 bits"),
        ("ring.0.buffer_size.mask", 0x0203_0001, "buffer_size.sizes: no size for the value 0x1"),
        ("ring.0.buffer_size.sizes.1.value", 0, "sizes[1].value: 0x0 is given twice"),
        ("ring.0.buffer_size.sizes.1.bytes", 0, "sizes[1].bytes: 0x0 is outside"),
        ("ring.1.forms", None, "ring[1].forms: missing"),
        ("ring.1.forms.0.value", 1, "ring[1].forms[0].value: 0x1 has bits outside the mask"),
    ],
)
def test_wrong_profiles_are_refused(path: str, value: object, message: str) -> None:
    values = e1000()
    change(values, path, value)
    with pytest.raises(ProfileError) as caught:
        compile_profile(Source("some.toml"), values)
    assert str(caught.value).startswith("some.toml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("channel", [], "channel: not a list of tables"),
        ("channel.1.name", "primary", "channel[1].name: two channels are called primary"),
        ("channel.1.list", 4, "channel[1].list: 0x4 is already the list"),
        ("channel.0.command", 6, "channel[0].list: 0x6 is already the command"),
        ("channel.0.status", 16, "channel[0].status: 0x10 is outside 0x0 to 0xf"),
        ("channel.0.list", 6, "channel[0].list: 0x6 is not a multiple of 4"),
        ("channel.0.command_bits.start", 8, "command_bits.to_memory: has bits of another mask"),
        ("channel.0.status_bits.active", None, "channel[0].status_bits.active: missing"),
        ("channel.0.entries.last.offset", 2, "channel[0].entries.last: is in the address"),
        ("channel.0.entries.length_mask", 0x1FFFE, "length_mask: 0x1fffe has bits outside"),
        ("channel.0.entries.length_add", 1, "length_of_zero: either this or length_add"),
        ("channel.0.entries.boundary", 4096, "max_entries: the list would cross"),
        ("channel.0.entries.max_entries", 8193, "max_entries: 0x2001 is outside"),
        ("channel.0.colour", 1, "channel[0].colour: unknown key"),
        ("progress_ports.0.count", 0, "progress_ports[0].count: 0x0 is outside"),
    ],
)
def test_wrong_channels_are_refused(path: str, value: object, message: str) -> None:
    values = tomllib.loads(profile_text("piix_ide"))
    change(values, path, value)
    with pytest.raises(ProfileError) as caught:
        compile_profile(Source("some.toml"), values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("queues", [], "queues: not a table"),
        ("queues.doorbells", 0x3FC4, "queues.doorbells: goes beyond the registers"),
        ("queues.max_transfer", 0x2_0200, "max_transfer: 0x20200 is not a multiple of 0x1000"),
        ("queues.max_transfer", 0x40_0000, "max_transfer: 0x400000 is outside 0x2000 to 0x200000"),
        ("queues.io", None, "queues.io: missing"),
        ("queues.io.1.opcode", 0, "queues.io[1].opcode: 0x0 is given twice"),
        ("queues.io.1.blocks.offset", 63, "io[1].blocks.width: ends after the descriptor's 64"),
        ("queues.io.1.unit", 4, "queues.io[1].unit: unknown key"),
        ("queues.admin.0.unit", None, "queues.admin[0].unit: missing"),
        ("queues.admin.1.bytes", 4097, "queues.admin[1].bytes: 0x1001 is outside"),
        ("queues.refused.0.selected", 256, "queues.refused[0].selected: 0x100 is outside"),
        ("queues.cleared.0.offset", 4093, "queues.cleared[0].offset: 0xffd is outside"),
        ("queues.cleared.0.mask", 0, "queues.cleared[0].mask: 0x0 is outside"),
        ("hidden.0.size", 0x4000, "hidden[0].size: 0x4000 is outside"),
        ("views.0.register", 3, "views[0].register: 0x3 is not a multiple of 4"),
    ],
)
def test_wrong_queues_are_refused(path: str, value: object, message: str) -> None:
    values = tomllib.loads(profile_text("nvme"))
    change(values, path, value)
    with pytest.raises(ProfileError) as caught:
        compile_profile(Source("nvme.toml"), values)
    assert str(caught.value).startswith("nvme.toml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("class", 0x1000000, "class: 0x1000000 is outside"),
        ("vendor", 0x8086, "vendor: unknown key"),
        ("closed.0.first", 0x4000, "closed[0].first: 0x4000 is outside"),
        ("closed.0.size", 0x1C00, "closed[0].size: 0x1c00 is outside"),
        ("slots.0.repeat.count", 9, "slots: more than 8 lists"),
        ("slots.0.repeat.stride", 6, "slots[0].repeat.stride: 0x6 is not a multiple of 4"),
        ("slots.0.repeat.stride", 0x2000, "slots[0].repeat: goes beyond the registers"),
        ("slots.0.issue", 0x1FFC, "slots[0].issue: 0x1ffc is outside"),
        ("slots.0.write_back.offset", 8, "slots[0].write_back: has bytes of the table's address"),
        ("slots.0.entries.prefix", 5000, "slots[0].entries.prefix: 0x1388 is outside"),
        ("slots.0.area_size", 8192, "slots[0].area_size: 0x2000 is outside"),
    ],
)
def test_wrong_lists_of_commands_are_refused(path: str, value: object, message: str) -> None:
    values = tomllib.loads(profile_text("ahci"))
    change(values, path, value)
    with pytest.raises(ProfileError) as caught:
        compile_profile(Source("some.toml"), values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schedule", 1, "schedule: not a table"),
        ("schedule.list", 30, "schedule.list: 0x1e is outside"),
        ("schedule.list_count", 1025, "schedule.list_count: 0x401 is outside"),
        ("schedule.command", 1, "schedule.command: 0x1 is not a multiple of 2"),
        ("schedule.command", 10, "schedule.command: 0xa is already the list"),
        ("schedule.command_bits.reset", 7, "command_bits.reset: has bits of another mask"),
        ("schedule.halted.mask", 0x10000, "schedule.halted.mask: 0x10000 is outside"),
        ("schedule.frame", None, "schedule.frame: missing"),
        ("schedule.link.queue", 1, "schedule.link.address: has bits of another mask"),
        ("schedule.link.address", 0xFFFFFFF8, "link.address: structures must be at multiples"),
        ("schedule.transfer.size", 20, "schedule.transfer.size: 0x14 is outside"),
        ("schedule.transfer.buffer", 4, "buffer: two of link, status and buffer are at one"),
        ("schedule.transfer.length.mask", 0x00FF00FF, "length.mask: 0xff00ff is no field"),
        ("schedule.transfer.length.mask", 0x1FFFF, "length.mask: 0x1ffff is no field"),
        ("schedule.transfer.kind.offset", 14, "kind.offset: 0xe is outside"),
        ("schedule.queue.size", 6, "schedule.queue.size: 6 is not a multiple of 4"),
        ("schedule.queue.element", 0, "schedule.queue.element: is the link to the next queue"),
        ("schedule.max_items", 32769, "schedule.max_items: 0x8001 is outside"),
        ("schedule.colour", 1, "schedule.colour: unknown key"),
        ("ports", 1, "ports: not true or false"),
    ],
)
def test_wrong_schedules_are_refused(path: str, value: object, message: str) -> None:
    values = tomllib.loads(profile_text("uhci"))
    change(values, path, value)
    with pytest.raises(ProfileError) as caught:
        compile_profile(Source("some.toml"), values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("profile", "old", "new"),
    [
        ("e1000", "bar = 0\n", "bar = 9\n"),
        ("e1000", "    0x1015, #", "    0x11015, #"),
        ("e1000", "0x0128, register = 0x2818", "0x0128, register = 0x2819"),
        ("e1000", "length = 0x3808 ", "length = 0x3809 "),
        ("e1000", "{ value = 0x0203_0000, bytes = 4096 }", "{ value = 0x0203_0000, bytes = 1 }"),
        (
            "e1000",
            "done = { offset = 12, mask = 0x01 }   #",
            "done = { offset = 1, mask = 0x01 }   #",
        ),
        ("piix_ide", "list = 0xc\n", "list = 0xd\n"),
        ("piix_ide", "{ first = 0x376, count = 1 }", '{ first = "}{#", count = 1 }'),
    ],
)
def test_messages_name_the_line(tmp_path: Path, profile: str, old: str, new: str) -> None:
    text = profile_text(profile)
    assert text.count(old) == 1
    line = text[: text.index(old)].count("\n") + 1
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text.replace(old, new))
    with pytest.raises(ProfileError) as caught:
        compile_files([wrong])
    assert str(caught.value).startswith(f"{wrong}:{line}: ")


def test_what_is_missing_is_told_with_the_line_of_its_table(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    text = profile_text("e1000").replace("tail = 0x3818 ", "tial = 0x3818 ")
    wrong.write_text(text)
    line = text[: text.rindex("[[ring]]")].count("\n") + 1
    with pytest.raises(ProfileError) as caught:
        compile_files([wrong])
    assert str(caught.value) == f"{wrong}:{line}: ring[1].tail: missing"


def test_lines_of_every_way_to_write_a_key() -> None:
    text = (
        """\
# a comment = 1
one = "a # no = comment" # two = 2
'quoted key' = '''
x = 1
'''
long = """
        + '"""\n[not.a.table]\n"""'
        + """
dotted.key = [
    1, # comment
    { in = 2, array = [3,
        4] },
]
[table.inner]
key = { a = "}", b = 1 }
[[list]]
x = 1
[[list]]
y = 2
[list.under]
z = 3
[[list.more]]
"""
    )
    assert tomllib.loads(text)
    lines = key_lines(text)
    for path, line in {
        "one": 2,
        "quoted key": 3,
        "long": 6,
        "dotted": 9,
        "dotted.key": 9,
        "dotted.key[0]": 10,
        "dotted.key[1].in": 11,
        "dotted.key[1].array[1]": 12,
        "table.inner": 14,
        "table.inner.key.b": 15,
        "list[0].x": 17,
        "list[1]": 18,
        "list[1].y": 19,
        "list[1].under.z": 21,
        "list[1].more[0]": 22,
    }.items():
        assert lines.pop(path) == line, path
    assert not any(name in lines for name in ("two", "x", "not", "b", "in"))


def test_command_line_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(PROFILES[0])
    output = str(tmp_path / "out.c")

    def fails_with(*arguments: str) -> str:
        assert main(list(arguments)) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err

    missing = str(tmp_path / "missing.toml")
    assert f"{missing}: No such file" in fails_with(missing, "-o", output)
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    assert "broken.toml: not TOML" in fails_with(str(broken), "-o", output)
    broken.write_bytes(b"name = '\xff'")
    assert "broken.toml: not TOML" in fails_with(str(broken), "-o", output)
    assert "name: another profile is called" in fails_with(good, good, "-o", output)
    assert f"{tmp_path}: Is a directory" in fails_with(good, "-o", str(tmp_path))
    assert not Path(output).exists()
    with pytest.raises(SystemExit) as usage:
        main([good])
    assert usage.value.code == 2


def test_the_build_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(profile_text("e1000").replace("bar = 0\n", "bar = 9\n"))
    assert main([str(wrong), "-o", str(tmp_path / "out.c")]) == 1
    message = capsys.readouterr().err
    assert f"{wrong}:" in message
    scons = "scons: *** [build/bochs-vtx/gen/dma_profiles.c] Error 1\n"
    assert first_problem(scons + message) == message.strip()
    compiler = "a.c: In function 'f':\na.c:3:1: error: expected ';'\n"
    assert first_problem(compiler + scons) == "a.c:3:1: error: expected ';'"
    assert first_problem(scons) == scons.strip()
    assert first_problem("") == "no message"
