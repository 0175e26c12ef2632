"""Compile DMA profiles (boards/profiles/*.toml) to the C tables of hypervisor/dma/profile.h.

    PYTHONPATH=tools python3 -m lvmm.profile_compiler boards/profiles/*.toml -o build/profiles.c

docs/adding-a-device.md explains the keys. Exit codes: 0 done, 1 a profile is wrong or cannot be
read, or the output cannot be written, 2 usage. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lvmm.profile_channels import compile_channel, compile_progress_ports
from lvmm.profile_lines import key_lines
from lvmm.profile_queues import compile_queues
from lvmm.profile_rings import compile_ring
from lvmm.profile_schedule import compile_schedule
from lvmm.profile_slots import compile_slots
from lvmm.profile_table import (
    U32,
    ProfileError,
    Source,
    Table,
    c_flag,
    take_register,
    take_register_bits,
)

MAX_RINGS = 8  # DMA_MAX_RINGS, DMA_MAX_CHANNELS


def _aliases(profile: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take the second addresses of registers: C definitions, and members of the profile."""
    if not profile.has("aliases"):
        return [], []
    rows = []
    for alias in profile.tables("aliases"):
        other = take_register(alias, "alias", register_size)
        register = take_register(alias, "register", register_size)
        size = alias.number("size", 4, register_size - max(other, register), default=4)
        rows.append(f"    {{{other:#x}, {register:#x}, {size:#x}}},")
        alias.close()
    return (
        [f"static const struct dma_alias {symbol}_aliases[] = {{", *rows, "};", ""],
        [f".aliases = {symbol}_aliases,", f".alias_count = {len(rows)},"],
    )


def _ranges(
    profile: Table, key: str, symbol: str, register_size: int
) -> tuple[list[str], list[str]]:
    """Take a list of ranges of registers: C definitions, and members of the profile."""
    if not profile.has(key):
        return [], []
    rows = []
    for item in profile.tables(key):
        first = take_register(item, "first", register_size)
        rows.append(f"    {{{first:#x}, {item.number('size', 4, register_size - first):#x}}},")
        item.close()
    return (
        [f"static const struct dma_range {symbol}_{key}[] = {{", *rows, "};", ""],
        [f".{key} = {symbol}_{key},", f".{key}_count = {len(rows)},"],
    )


def _views(profile: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take what the guest sees of registers: C definitions, and members of the profile."""
    if not profile.has("views"):
        return [], []
    rows = []
    for view in profile.tables("views"):
        register = take_register(view, "register", register_size)
        clear = view.number("clear", 0, U32, default=0)
        rows.append(
            f"    {{{register:#x}, {clear:#x}, {view.number('set', 0, U32, default=0):#x}}},"
        )
        view.close()
    return (
        [f"static const struct dma_register_view {symbol}_views[] = {{", *rows, "};", ""],
        [f".views = {symbol}_views,", f".view_count = {len(rows)},"],
    )


def _rings(profile: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take the rings: C definitions, and members of the profile."""
    names: set[str] = set()
    registers: dict[int, str] = {}
    definitions: list[str] = []
    rows: list[str] = []
    rings = profile.tables("ring")
    if len(rings) > MAX_RINGS:
        raise profile.error("ring", f"more than {MAX_RINGS} rings")
    for ring in rings:
        name, ring_definitions, members = compile_ring(ring, symbol, register_size, registers)
        if name in names:
            raise ring.error("name", f"two rings are called {name}")
        names.add(name)
        definitions += ring_definitions
        rows += ["    {", *(f"        {member}" for member in members), "    },"]
    definitions += [f"static const struct dma_ring_profile {symbol}_rings[] = {{", *rows, "};", ""]
    return definitions, [f".rings = {symbol}_rings,", f".ring_count = {len(rings)},"]


def _channels(profile: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take the channels and what goes with them: C definitions, and members of the profile."""
    names: set[str] = set()
    registers: dict[int, str] = {}
    rows: list[str] = []
    channels = profile.tables("channel")
    if len(channels) > MAX_RINGS:
        raise profile.error("channel", f"more than {MAX_RINGS} channels")
    for channel in channels:
        name, members = compile_channel(channel, register_size, registers)
        if name in names:
            raise channel.error("name", f"two channels are called {name}")
        names.add(name)
        rows += ["    {", *(f"        {member}" for member in members), "    },"]
    ports = compile_progress_ports(profile)
    definitions = [
        f"static const struct dma_channel_profile {symbol}_channels[] = {{",
        *rows,
        "};",
        "",
        f"static const struct dma_ports {symbol}_progress[] = {{{', '.join(ports) or '{0, 0}'}}};",
        "",
    ]
    return definitions, [
        f".channels = {symbol}_channels,",
        f".channel_count = {len(channels)},",
        f".progress_ports = {symbol}_progress,",
        f".progress_port_count = {len(ports)},",
    ]


def _slots(profile: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take the lists of commands: C definitions, and members of the profile."""
    names: set[str] = set()
    rows: list[str] = []
    for slots in profile.tables("slots"):
        for name, members in compile_slots(slots, register_size):
            if name in names:
                raise slots.error("name", f"two lists are called {name}")
            names.add(name)
            rows += ["    {", *(f"        {member}" for member in members), "    },"]
    if len(names) > MAX_RINGS:
        raise profile.error("slots", f"more than {MAX_RINGS} lists")
    definitions = [f"static const struct dma_slots_profile {symbol}_slots[] = {{", *rows, "};", ""]
    return definitions, [f".slots = {symbol}_slots,", f".slots_count = {len(names)},"]


def _schedule(profile: Table, symbol: str, register_size: int) -> tuple[list[str], list[str]]:
    """Take the schedule: its C definition, and the member of the profile."""
    members = compile_schedule(profile, register_size)
    definition = [
        f"static const struct dma_schedule_profile {symbol}_schedule = {{",
        *(f"    {member}" for member in members),
        "};",
        "",
    ]
    return definition, [f".schedule = &{symbol}_schedule,"]


def compile_profile(source: Source, values: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """Compile one parsed profile.

    Returns its name, the C definitions it needs and the members of its struct dma_profile.
    Raises ProfileError, whose message starts with the source's name.
    """
    profile = Table(source, "", values)
    name = profile.text("name", "[a-z][a-z0-9_]*")
    has_class = profile.has("class")
    devices = [] if has_class else profile.numbers("devices", 0, 0xFFFF)
    register_size = profile.power_of_two("register_size", 16, 1 << 28)
    members = [f'.name = "{name}",']
    definitions: list[str] = []
    if has_class:
        members.append(f".class_code = {profile.number('class', 1, 0xFFFFFF):#08x},")
    else:
        numbers = ", ".join(f"{device:#06x}" for device in devices)
        definitions += [f"static const u16 {name}_devices[] = {{{numbers}}};", ""]
        members += [
            f".vendor = {profile.number('vendor', 0, 0xFFFF):#06x},",
            f".devices = {name}_devices,",
            f".device_count = {len(devices)},",
        ]
    members += [
        f".bar = {profile.number('bar', 0, 5)},",
        f".register_size = {register_size:#x},",
    ]
    members.append(f".ports = {c_flag(profile.flag('ports'))},")
    if profile.has("reset"):
        members.append(f".reset = {take_register_bits(profile, 'reset', register_size)},")
    for more_definitions, more_members in (
        _aliases(profile, name, register_size),
        _ranges(profile, "closed", name, register_size),
        _ranges(profile, "hidden", name, register_size),
        _views(profile, name, register_size),
    ):
        definitions += more_definitions
        members += more_members
    if profile.has("io_window"):
        window = profile.table("io_window")
        members += [
            ".has_io_window = true,",
            f".io_address = {window.number('address', 0, 0xFF):#x},",
            f".io_data = {window.number('data', 0, 0xFF):#x},",
        ]
        window.close()
    if profile.has("channel"):
        compiled = _channels(profile, name, register_size)
    elif profile.has("slots"):
        compiled = _slots(profile, name, register_size)
    elif profile.has("queues"):
        compiled = compile_queues(profile.table("queues"), name, register_size)
    elif profile.has("schedule"):
        compiled = _schedule(profile, name, register_size)
    elif profile.has("ring"):
        compiled = _rings(profile, name, register_size)
    else:
        raise profile.error("ring", "missing, as are channel, slots, queues and schedule")
    definitions += compiled[0]
    members += compiled[1]
    profile.close()
    return name, definitions, members


def compile_files(paths: Iterable[Path]) -> str:
    """Return the C source with the tables of all the profiles. Raises ProfileError."""
    compiled: dict[str, tuple[list[str], list[str]]] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
            values = tomllib.loads(text)
        except OSError as error:
            raise ProfileError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"{path}: not TOML: {error}") from None
        source = Source(str(path), key_lines(text))
        name, definitions, members = compile_profile(source, values)
        if name in compiled:
            raise source.error("name", f"another profile is called {name}, too")
        compiled[name] = (definitions, members)

    lines = [
        "/* Generated by tools/lvmm/profile_compiler.py from boards/profiles: do not edit. */",
        '#include "dma/profile.h"',
        "",
    ]
    for _, (definitions, _) in sorted(compiled.items()):
        lines += definitions
    lines.append("const struct dma_profile dma_profiles[] = {")
    for _, (_, members) in sorted(compiled.items()):
        lines += ["    {", *(f"        {member}" for member in members), "    },"]
    lines += ["};", f"const u32 dma_profile_count = {len(compiled)};", ""]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Compile DMA profiles to C tables.")
    parser.add_argument("profiles", nargs="+", type=Path, metavar="PROFILE.toml")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.c")
    arguments = parser.parse_args(argv)
    try:
        text = compile_files(arguments.profiles)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    except ProfileError as error:
        print(f"profile_compiler: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"profile_compiler: {arguments.output}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
