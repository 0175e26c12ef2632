"""What the machine that the tools run on has, and what it lacks. Nothing is changed by looking."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import sys
from pathlib import Path

from lvmm import apt, provision
from lvmm.cache import cache_dir
from lvmm.doctor.findings import Finding, State
from lvmm.errors import LvmmError
from lvmm.netpeer import free_port
from lvmm.pci_names import has_names

MIB = 1 << 20

# What a first run puts into the cache: the emulator's source and build, Debian's kernels.
CACHE_MIB = 3072
# The emulator, the tools, and what of a guest's memory is used.
MACHINE_MIB = 512

PURPOSES = {
    "boot images": provision.IMAGE_PACKAGES,
    "guests": provision.GUEST_PACKAGES,
    "compiler": provision.BUILD_PACKAGES,
    "firmware": provision.FIRMWARE_PACKAGES,
}
TESTS = "tests"

_MEMINFO = Path("/proc/meminfo")
_SERIAL_LINES = ("ttyUSB*", "ttyACM*")


@dataclasses.dataclass(frozen=True)
class SerialLine:
    """A serial line that a server's could be connected to."""

    path: str
    usable: bool


@dataclasses.dataclass(frozen=True)
class Machine:
    """The facts. `missing`: packages by purpose; `installer`: how packages can be installed, "" for
    not at all; sizes are in MiB; `ports`: what is wrong with the ports of the loopback, or "".
    """

    own_python: bool
    has_apt: bool
    installer: str
    missing: dict[str, tuple[str, ...]]
    has_pci_names: bool
    emulator: str | None
    kernels: dict[str, str | None]
    cache: str
    cache_free: int
    work: str
    work_free: int
    memory_free: int
    processors: int
    ports: str
    serial: tuple[SerialLine, ...]


def look() -> Machine:
    """Looks at this machine. Raises EnvironmentProblem where there can be no cache directory."""
    cache, work = cache_dir(), Path.cwd()
    emulator = provision.cached_bochs()
    kernels: dict[str, str | None] = dict.fromkeys(provision.KERNELS)
    for name in kernels:
        kernel = provision.cached_kernel(name)
        kernels[name] = kernel.release if kernel else None
    packages = {**PURPOSES, TESTS: provision.TEST_PACKAGES}
    return Machine(
        own_python=Path(sys.prefix).resolve().is_relative_to(cache),
        has_apt=shutil.which("apt-get") is not None,
        installer=_installer(),
        missing={name: tuple(apt.missing_packages(words)) for name, words in packages.items()},
        has_pci_names=has_names(),
        emulator=str(emulator) if emulator else None,
        kernels=kernels,
        cache=str(cache),
        cache_free=shutil.disk_usage(cache).free // MIB,
        work=str(work),
        work_free=shutil.disk_usage(work).free // MIB,
        memory_free=_memory_free(),
        processors=os.cpu_count() or 1,
        ports=_ports(),
        serial=_serial_lines(),
    )


def _installer() -> str:
    if os.geteuid() == 0:
        return "root"
    return "sudo" if shutil.which("sudo") else ""


def _memory_free(meminfo: Path = _MEMINFO) -> int:
    """MiB that programs can have (proc(5): MemAvailable)."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def _ports() -> str:
    try:
        free_port()
        with socket.create_server(("127.0.0.1", 0)):
            return ""
    except (OSError, LvmmError) as error:
        return str(error)


def _serial_lines(directory: Path = Path("/dev")) -> tuple[SerialLine, ...]:
    found = sorted(path for pattern in _SERIAL_LINES for path in directory.glob(pattern))
    return tuple(SerialLine(str(path), os.access(path, os.R_OK | os.W_OK)) for path in found)


def machine_findings(machine: Machine, run_mib: int) -> list[Finding]:
    """What to tell; `run_mib` is what a run may need on the disk."""
    return [
        _python(machine),
        *_packages(machine),
        _emulator(machine),
        *_kernels(machine),
        _disk("cache", machine.cache, machine.cache_free, _cache_need(machine)),
        _disk("recordings", machine.work, machine.work_free, run_mib),
        _memory(machine),
        _loopback(machine),
        *_serial(machine),
    ]


def _python(machine: Machine) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if machine.own_python:
        return Finding("Python", State.OK, f"{version}, in an environment of its own")
    text = f"{version}, not of the environment that ./lvmm makes"
    return Finding("Python", State.WARNING, text, "start ./lvmm of the source's folder")


def _packages(machine: Machine) -> list[Finding]:
    findings = []
    for purpose, missing in machine.missing.items():
        if not missing:
            findings.append(Finding(f"packages: {purpose}", State.OK, "installed"))
            continue
        listed = " ".join(missing)
        # Those for tests are no matter to others.
        state = State.WARNING if purpose == TESTS else State.MISSING
        how = _install(machine, listed)
        if machine.has_apt and machine.installer:
            how += ", or let the first run do it"
        findings.append(Finding(f"packages: {purpose}", state, f"not installed: {listed}", how))
    if not machine.has_pci_names:
        text = "pci.ids: devices have numbers, and no names"
        how = _install(machine, "pci.ids")
        findings.append(Finding("packages: names", State.WARNING, text, how))
    return findings


def _install(machine: Machine, packages: str) -> str:
    if not machine.has_apt:
        return f"there is no apt: install this system's equivalents of {packages}"
    command = f"apt-get install --no-install-recommends {packages}"
    if machine.installer == "root":
        return command
    return f"sudo {command}" if machine.installer else f"as root, for want of sudo: {command}"


def _emulator(machine: Machine) -> Finding:
    major = provision.BOCHS_MAJOR
    if machine.emulator:
        return Finding(
            "emulator", State.OK, f"Bochs {major} with the PMU module: {machine.emulator}"
        )
    text = f"Bochs {major} with the PMU module is not built"
    advice = "the first run builds it, in some minutes; its source comes through apt"
    return Finding("emulator", State.MISSING, text, advice)


def _kernels(machine: Machine) -> list[Finding]:
    findings = []
    for name, release in machine.kernels.items():
        subject = f"kernel: {name}"
        if release:
            findings.append(Finding(subject, State.OK, release))
        else:
            advice = "demo and tests get it through apt; other guests do not need it"
            findings.append(Finding(subject, State.WARNING, "not in the cache", advice))
    return findings


def _cache_need(machine: Machine) -> int:
    return 0 if machine.emulator and all(machine.kernels.values()) else CACHE_MIB


def _disk(subject: str, place: str, free: int, need: int) -> Finding:
    text = f"{free} MiB free at {place}"
    if free >= 2 * need:
        return Finding(f"disk: {subject}", State.OK, text)
    state = State.WARNING if free >= need else State.MISSING
    return Finding(f"disk: {subject}", state, f"{text}, needed are {need}", "make room there")


def _memory(machine: Machine) -> Finding:
    text = f"{machine.memory_free} MiB free, {machine.processors} processors"
    if machine.memory_free >= 2 * MACHINE_MIB:
        return Finding("memory", State.OK, text)
    state = State.WARNING if machine.memory_free >= MACHINE_MIB else State.MISSING
    need = f"an emulated machine needs about {MACHINE_MIB}"
    return Finding("memory", state, f"{text}; {need}", "end other programs")


def _loopback(machine: Machine) -> Finding:
    if not machine.ports:
        return Finding("loopback", State.OK, "TCP and UDP ports can be had")
    advice = "the emulator's serial lines and network need ports of 127.0.0.1"
    return Finding("loopback", State.MISSING, machine.ports, advice)


def _serial(machine: Machine) -> list[Finding]:
    if not machine.serial:
        text = "no USB serial line: only a real server needs one"
        return [Finding("serial lines", State.OK, text)]
    findings = []
    for line in machine.serial:
        if line.usable:
            findings.append(Finding("serial line", State.OK, line.path))
        else:
            advice = "join the group of the device (Debian: dialout), and log in again"
            text = f"{line.path}: no permission"
            findings.append(Finding("serial line", State.WARNING, text, advice))
    return findings
