"""What the user types behind gdb's `monitor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvmm.gdb.machine import Machine
from lvmm.gdb.registers import I386, I8086, X86_64, code_bits
from lvmm.gdb.stop_reply import describe
from lvmm.gdb.target import BASES, CONTROL, DEBUG, GENERAL, SELECTORS, TargetError


@dataclass(frozen=True)
class _Command:
    usage: str
    help: str
    run: Callable[[Machine, str], str]


def run_monitor_command(machine: Machine, line: str) -> str:
    """The text for the user. Errors are text too: gdb shows no other answer."""
    words = line.split(maxsplit=1)
    name, argument = (words[0], words[1].strip() if words[1:] else "") if words else ("help", "")
    command = _COMMANDS.get(name)
    if command is None:
        return f"There is no command {name!r}; `monitor help` lists all.\n"
    try:
        text = command.run(machine, argument)
    except _Usage:
        text = f"Usage: monitor {command.usage}"
    except TargetError as error:
        text = f"{name}: {error}"
    return text if text.endswith("\n") else f"{text}\n"


class _Usage(Exception):
    """The argument is none of this command's."""


def _help(_machine: Machine, argument: str) -> str:
    _refuse(argument)
    width = max(len(command.usage) for command in _COMMANDS.values())
    return "\n".join(f"{c.usage:{width}}  {c.help}" for c in _COMMANDS.values())


def _refuse(argument: str) -> None:
    if argument:
        raise _Usage


def _query(name: str) -> Callable[[Machine, str], str]:
    """A command without an argument that the target answers."""

    def run(machine: Machine, argument: str) -> str:
        _refuse(argument)
        return machine.target.query(name, "")

    return run


def _number_query(name: str, *, needed: bool) -> Callable[[Machine, str], str]:
    """A command with a number that the target answers."""

    def run(machine: Machine, argument: str) -> str:
        if not argument and not needed:
            return machine.target.query(name, "")
        try:
            number = int(argument, 0)
        except ValueError:
            raise _Usage from None
        if not 0 <= number < 1 << 64:
            raise _Usage
        return machine.target.query(name, f"{number:#x}")

    return run


def _when(machine: Machine, argument: str) -> str:
    _refuse(argument)
    stop = machine.attach()
    mode = machine.target.mode
    return f"{mode}, stopped by: {describe(stop)}\n{machine.target.query('when', '')}"


def _seek(machine: Machine, argument: str) -> str:
    if not argument:
        raise _Usage
    stop = machine.seek(argument)
    where = machine.target.query("when", "")
    return f"{describe(stop)}\n{where}\nNow: maintenance flush register-cache"


def _checkpoint(machine: Machine, argument: str) -> str:
    if argument not in ("", "list"):
        raise _Usage
    machine.attach()
    return machine.target.query("checkpoint", argument)


def _log(machine: Machine, argument: str) -> str:
    if argument != "status":
        raise _Usage
    return machine.target.query("log", "status")


def _regs(machine: Machine, argument: str) -> str:
    _refuse(argument)
    values = machine.registers()
    lines = []
    names = (*GENERAL, *BASES, *CONTROL, *DEBUG)
    for at in range(0, len(names), 3):
        lines.append("  ".join(f"{name:>14} {values[name]:016x}" for name in names[at : at + 3]))
    lines.append("  ".join(f"{name} {values[name]:04x}" for name in SELECTORS))
    lines.append(f"{code_bits(values)}-bit code")
    return "\n".join(lines)


def _reset(machine: Machine, argument: str) -> str:
    _refuse(argument)
    machine.reset()
    return "The guest is at its beginning. Now: maintenance flush register-cache"


def _record(machine: Machine, argument: str) -> str:
    if argument not in ("start", "stop"):
        raise _Usage
    machine.attach()
    return machine.target.query("record", argument)


def _force_writes(machine: Machine, argument: str) -> str:
    if argument not in ("on", "off"):
        raise _Usage
    return machine.target.query("force-writes", argument)


def _physical(machine: Machine, argument: str) -> str:
    if argument not in ("on", "off"):
        raise _Usage
    machine.physical = argument == "on"
    kind = "physical" if machine.physical else "linear"
    return f"Memory addresses are {kind} ones. Now: maintenance flush dcache"


def _architecture(machine: Machine, argument: str) -> str:
    choices = {"auto": None, **{choice.architecture: choice for choice in (I8086, I386, X86_64)}}
    if argument not in choices:
        raise _Usage
    machine.architecture = choices[argument]
    return "This holds when gdb connects the next time. Now: disconnect"


_ALL = (
    _Command("help", "this list", _help),
    _Command("when", "why the guest is stopped, and at which position", _when),
    _Command(
        "seek event N|BRANCHES|POSITION|begin|end",
        "in a replay: go to before an event, to a count of branches, to a position of `when`",
        _seek,
    ),
    _Command(
        "checkpoint [list]",
        "in a replay: make one here to go back to, and list all; or list them only",
        _checkpoint,
    ),
    _Command(
        "events [COUNT]",
        "how many events there were, by kind; the last COUNT of them",
        _number_query("events", needed=False),
    ),
    _Command("devices", "the devices that the guest has", _query("devices")),
    _Command("exits", "how often the guest left to the monitor, by reason", _query("exits")),
    _Command("regs", "all registers but the FPU's", _regs),
    _Command("ept ADDR", "how a physical address is mapped", _number_query("ept", needed=True)),
    _Command(
        "translate ADDR",
        "the physical address of a linear one, by the guest's page tables",
        _number_query("translate", needed=True),
    ),
    _Command("log status", "how full the log is", _log),
    _Command(
        "symbols", "a file with the symbols of the Linux kernel and its modules", _query("symbols")
    ),
    _Command("physical on|off", "read and write memory by physical address", _physical),
    _Command("force-writes on|off", "in replay: allow writes, which alter the run", _force_writes),
    _Command(
        "architecture auto|i8086|i386|i386:x86-64",
        "which registers gdb is told of",
        _architecture,
    ),
    _Command(
        "record start|stop",
        "begin a recording on demand here; end the recording, and let the guest run on",
        _record,
    ),
    _Command("reset", "start the guest from its beginning", _reset),
)
_COMMANDS = {command.usage.split()[0]: command for command in _ALL}
