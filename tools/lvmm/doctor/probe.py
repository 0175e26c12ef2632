"""What a board has, as the monitor tells it when it is booted to look around (its word `probe`).

Its messages: `cpu`, `ecam` and `pci` tell facts; `probe` ends a subject, whose lines of text came
before it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvmm.board import Board
from lvmm.doctor.findings import Finding, State
from lvmm.errors import MachineError
from lvmm.fence import LACKS
from lvmm.image import BootImage, build_image
from lvmm.machine_run import RunOptions, run_machine
from lvmm.monitor_build import monitor_elf
from lvmm.monitor_line import parse_line
from lvmm.pci_names import class_name, device_name

DEADLINE_S = 120.0

# PCI Code and ID Assignment Specification, chapter 2.
CAPABILITIES = {
    0x01: "power management",
    0x02: "AGP",
    0x03: "VPD",
    0x05: "MSI",
    0x07: "PCI-X",
    0x08: "HyperTransport",
    0x09: "vendor's own",
    0x0A: "debug port",
    0x0D: "subsystem",
    0x0E: "AGP 8x",
    0x0F: "secure device (IOMMU)",
    0x10: "PCI Express",
    0x11: "MSI-X",
    0x12: "SATA",
    0x13: "advanced features",
    0x14: "enhanced allocation",
}

_BRIDGE = "06"
_PREFIX = "lvmm: "


@dataclass
class Probe:
    """The monitor's answers: verdicts with their texts by subject, and the facts."""

    verdicts: dict[str, tuple[bool, list[str]]] = field(default_factory=dict)
    cpu: dict[str, Any] = field(default_factory=dict)
    windows: list[dict[str, Any]] = field(default_factory=list)
    functions: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False


def probe_board(board: Board) -> Probe:
    """Boots the monitor on an emulated board. Raises LvmmError where it does not get to the end."""
    with tempfile.TemporaryDirectory(prefix="lvmm-doctor-") as scratch:
        image = Path(scratch) / "boot.iso"
        memory = str(board.memory.guest_max_mib)
        words = {"mode": "record", "probe": "1", "memory": memory}
        build_image(BootImage(monitor_elf(board.name), words), image)
        options = RunOptions(deadline_s=DEADLINE_S)
        result = run_machine(board, image, Path(scratch) / "run", options)
        probe = read_probe(result.report.lines)
        if result.error is not None:
            raise result.error
        if not probe.finished:
            raise MachineError(f"the monitor did not get to the end: {result.report.last_text()}")
    return probe


def read_probe(lines: list[str]) -> Probe:
    """What the lines say."""
    probe = Probe()
    texts: list[str] = []
    for line in lines:
        message = parse_line(line)
        if message is None:
            if line.startswith(_PREFIX):
                texts.append(line.removeprefix(_PREFIX).strip())
            continue
        match message["lvmm"]:
            case "cpu":
                probe.cpu = message
            case "ecam":
                probe.windows.append(message)
            case "pci":
                probe.functions.append(message)
            case "probe":
                probe.verdicts[str(message.get("what"))] = bool(message.get("ok")), texts
                texts = []
            case "halted":
                probe.finished = message.get("reason") == "probe"
    return probe


def board_findings(board: Board, probe: Probe) -> list[Finding]:
    """What to tell of a board."""
    return [
        Finding("CPU", State.OK, _cpu_text(probe)),
        _verdict(
            *(probe, "vtx", "VT-x", "with EPT, unrestricted guest and all else that is needed"),
            advice="the monitor needs an Intel CPU with these, enabled in the firmware",
        ),
        _verdict(
            *(probe, "counter", "counter", ""),
            advice="live runs are possible, recordings are not",
        ),
        _verdict(
            *(probe, "memory", "memory map", _memory_text(board)),
            advice="change [memory] of the board's file (docs/adding-a-board.md)",
        ),
        _verdict(
            *(probe, "log", "log region", "holds no log that nobody has saved"),
            state=State.WARNING,
            advice="save it before the next run (docs/after-a-crash.md)",
        ),
        _verdict(
            *(probe, "ecam", "PCI access", _windows_text(probe)),
            advice="nothing can be recorded there until the firmware's table is right",
        ),
        _verdict(
            *(probe, "acpi", "ACPI", "the firmware's tables are found"),
            state=State.WARNING,
            advice="the monitor cannot know whether PCI's configuration space is in memory, too",
        ),
        *(_function(function) for function in probe.functions),
        *_absent(board, probe),
    ]


def _cpu_text(probe: Probe) -> str:
    brand = " ".join(str(probe.cpu.get("brand", "")).split()) or "of unknown name"
    return f"{brand}, signature {probe.cpu.get('signature', '?')}"


def _verdict(
    probe: Probe,
    what: str,
    subject: str,
    fine: str,
    *,
    advice: str,
    state: State = State.MISSING,
) -> Finding:
    if what not in probe.verdicts:
        return Finding(subject, State.MISSING, "the monitor has said nothing of it", advice)
    ok, texts = probe.verdicts[what]
    text = "; ".join([*([fine] if ok and fine else []), *texts]) or "not found"
    return Finding(subject, State.OK, text) if ok else Finding(subject, state, text, advice)


def _memory_text(board: Board) -> str:
    memory = board.memory
    return (
        f"RAM for a guest of {memory.guest_max_mib} MiB, the monitor at {memory.monitor_base:#x} "
        f"and a log region of {memory.log_mib} MiB at {memory.log_base:#x}"
    )


def _windows_text(probe: Probe) -> str:
    if not probe.windows:
        return "by ports only; the firmware names no configuration space in memory"
    places = ", ".join(
        f"{window['size'] >> 20} MiB at 0x{window['base']}" for window in probe.windows
    )
    return (
        f"by ports and in memory ({places}): both go past the fence; while recording a function's "
        "bytes above 256 are hidden"
    )


def _function(function: dict[str, Any]) -> Finding:
    address, vendor, device, code = (
        str(function.get(key, "?")) for key in ("address", "vendor", "device", "class")
    )
    name = device_name(vendor, device)
    text = f"{class_name(code)} {vendor}:{device}" + (f" ({name})" if name else "")
    hidden = _names(function.get("hidden"))
    hides = f"; hidden while recording: {hidden}" if hidden else ""
    profile = function.get("profile")
    subject = f"PCI {address}"
    if profile:
        return _profiled(subject, f"{text}: DMA profile {profile}", function, hides)
    if code.startswith(_BRIDGE):
        return Finding(
            subject, State.OK, f"{text}: may be bus master for the devices behind it{hides}"
        )
    advice = (
        "nothing, if it writes nothing into memory by itself; else hints from its driver or a DMA "
        "profile (docs/adding-a-device.md)"
    )
    text = f"{text}: fenced, no bus master while recording{hides}"
    return Finding(subject, State.WARNING, text, advice)


def _profiled(subject: str, text: str, function: dict[str, Any], hides: str) -> Finding:
    lacks = str(function.get("lacks"))
    if lacks in LACKS:
        why, remedy = LACKS[lacks]
        text = f"{text}, but {why}: fenced, no bus master while recording{hides}"
        return Finding(subject, State.WARNING, text, remedy)
    room = int(function.get("room", 0)) / (1 << 20)
    return Finding(subject, State.OK, f"{text}, with {room:.1f} MiB of shadow memory{hides}")


def _names(identifiers: object) -> str:
    if not isinstance(identifiers, list):
        return ""
    return ", ".join(
        CAPABILITIES.get(number, f"capability {number:#04x}") for number in identifiers
    )


def _absent(board: Board, probe: Probe) -> list[Finding]:
    """The board's devices that the machine has not, or has without their profile."""
    profiles = {
        str(function.get("address")): function.get("profile") for function in probe.functions
    }
    findings = []
    for device in board.device:
        subject = f"PCI {device.pci}"
        if device.pci not in profiles:
            text = f"{device.name} of the board's file is not there"
            findings.append(Finding(subject, State.MISSING, text, "correct the board's file"))
        elif device.profile and profiles[device.pci] != device.profile:
            text = f"{device.name} has not the profile {device.profile} of the board's file"
            advice = "add the device's ID to the profile's devices (boards/profiles/)"
            findings.append(Finding(subject, State.MISSING, text, advice))
    return findings
