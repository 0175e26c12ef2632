"""Boards: one TOML file each in boards/, loaded into frozen dataclasses and validated.

Sizes are in MiB where the name says so, addresses are physical byte addresses.
"""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

from lvmm.errors import UsageError

BOARDS_DIR = Path(__file__).resolve().parents[2] / "boards"

_MIB = 1 << 20
_BOOT_LOADER_LIMIT = 1 << 32  # Multiboot2 knows 32-bit load addresses only
# GRUB's heap grows down from the end of RAM below 4 GiB. A log that an earlier run left must be out
# of its way: most of the heap is the disk cache, 32 MiB at most; 33 MiB were seen.
_BOOT_LOADER_HEAP_MIB = 64
_BDF = re.compile(r"([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Who owns which physical memory."""

    total_mib: int
    guest_max_mib: int
    guest_default_mib: int
    monitor_base: int
    monitor_mib: int
    log_base: int
    log_mib: int

    @property
    def total_bytes(self) -> int:
        """All RAM of the machine, in bytes."""
        return self.total_mib * _MIB

    @property
    def log_bytes(self) -> int:
        """The log region, in bytes."""
        return self.log_mib * _MIB


@dataclasses.dataclass(frozen=True)
class Serial:
    """I/O port bases of the two serial lines."""

    guest_console: int
    monitor: int


@dataclasses.dataclass(frozen=True)
class Power:
    """How the tools end a run."""

    off: str


@dataclasses.dataclass(frozen=True)
class EmulatorSettings:
    """What an emulated board needs.

    `ips` is the number of instructions that make a second of emulated time; `skid_margin` the most
    conditional branches between a counter overflow and its interrupt. `counter_fault` makes the
    counter inexact, for tests: "start" or "interrupts" (boards/bochs/README.md). The TLB is emptied
    at random, every `tlb_flush` instructions on average (0: never).
    """

    cpu_model: str
    ips: int
    skid_margin: int
    counter_fault: str = ""
    tlb_flush: int = 0


@dataclasses.dataclass(frozen=True)
class Device:
    """A PCI device that is passed through."""

    name: str
    pci: str
    model: str
    profile: str

    @property
    def pci_address(self) -> tuple[int, int, int]:
        """Bus, device and function number."""
        match = _BDF.fullmatch(self.pci)
        assert match  # validated at load
        bus, device, function = match.groups()
        return int(bus, 16), int(device, 16), int(function)


@dataclasses.dataclass(frozen=True)
class Board:
    """One machine, emulated or real."""

    name: str
    description: str
    kind: str
    memory: Memory
    serial: Serial
    power: Power
    emulator: EmulatorSettings
    device: tuple[Device, ...] = ()


def known_boards(directory: Path = BOARDS_DIR) -> list[str]:
    """Names of all boards, sorted."""
    return sorted(path.stem for path in directory.glob("*.toml"))


def load_board(name: str, directory: Path = BOARDS_DIR) -> Board:
    """Load and validate boards/NAME.toml.

    Raises UsageError for an unknown name and for any mistake in the file.
    """
    if name not in known_boards(directory):
        known = ", ".join(known_boards(directory)) or "none"
        raise UsageError(f"no board '{name}' (known boards: {known})")
    path = directory / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    board: Board = _build(Board, table, str(path))
    _check(board, str(path))
    return board


def _build(cls: Any, table: Any, where: str) -> Any:
    """Build dataclass `cls` from a TOML table; `where` is the place to name in an error."""
    if not isinstance(table, dict):
        raise UsageError(f"{where}: must be a table")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(table.keys() - fields.keys())
    if unknown:
        raise UsageError(f"{where}: unknown key '{unknown[0]}'")
    values = {}
    for name, field in fields.items():
        if name not in table:
            if field.default is dataclasses.MISSING:
                raise UsageError(f"{where}: key '{name}' is missing")
            continue
        values[name] = _convert(field.type, table[name], f"{where}: {name}")
    return cls(**values)


def _convert(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{where}: must be an array of tables")
        item = get_args(kind)[0]
        return tuple(_convert(item, entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if type(value) is not kind:
        raise UsageError(f"{where}: must be {'a number' if kind is int else 'a string'}")
    return value


def _check(board: Board, where: str) -> None:
    memory = board.memory

    def require(holds: bool, message: str) -> None:
        if not holds:
            raise UsageError(f"{where}: {message}")

    require(board.name == Path(where).stem, "name differs from the file's name")
    require(board.kind in ("bochs",), f"kind '{board.kind}' is not supported")
    require(0 < memory.guest_default_mib <= memory.guest_max_mib, "guest_default_mib out of range")
    require(memory.monitor_mib > 0, "monitor_mib must be positive")
    require(memory.log_mib > 0, "log_mib must be positive")
    require(memory.monitor_base % (2 * _MIB) == 0, "monitor_base must be a multiple of 2 MiB")
    require(memory.log_base % (2 * _MIB) == 0, "log_base must be a multiple of 2 MiB")
    monitor_end = memory.monitor_base + memory.monitor_mib * _MIB
    require(monitor_end <= _BOOT_LOADER_LIMIT, "the monitor must end at or below 4 GiB")
    require(memory.guest_max_mib * _MIB <= memory.monitor_base, "guest memory overlaps the monitor")
    require(monitor_end <= memory.log_base, "the monitor overlaps the log region")
    require(
        memory.log_base + memory.log_bytes <= memory.total_bytes,
        "the log region does not fit into total_mib",
    )
    require(
        memory.log_base >= _BOOT_LOADER_LIMIT
        or memory.log_base + memory.log_bytes + _BOOT_LOADER_HEAP_MIB * _MIB <= memory.total_bytes,
        f"total_mib must leave {_BOOT_LOADER_HEAP_MIB} MiB above the log region to the boot loader",
    )
    require(board.serial.guest_console != board.serial.monitor, "both serial lines are the same")
    require(board.power.off in ("terminate",), f"power.off '{board.power.off}' is not supported")
    require(board.emulator.ips > 0, "ips must be positive")
    require(board.emulator.skid_margin >= 0, "skid_margin must not be negative")
    require(
        board.emulator.counter_fault in ("", "start", "interrupts"),
        f"counter_fault '{board.emulator.counter_fault}' is not known",
    )
    seen: set[str] = set()
    for device in board.device:
        require(bool(_BDF.fullmatch(device.pci)), f"device {device.name}: pci is no bus:dev.fn")
        require(device.pci not in seen, f"two devices at {device.pci}")
        seen.add(device.pci)
