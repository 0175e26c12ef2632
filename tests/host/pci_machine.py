"""A PCI bus and a firmware's tables for hypervisor/core/pci_config.c and what is below it."""

from __future__ import annotations

import functools
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.host.cbuild import OUTPUT, board_config, build

ECAM_ENTRY = struct.Struct("<QHBBI")  # base, segment group, first bus, last bus, reserved
ROOT, MCFG = 0x7FF0000, 0x7FF1000  # addresses of tables

_SOURCES = (
    "tests/host/c/pci_config_driver.c",
    *(
        f"hypervisor/core/{name}.c"
        for name in ("acpi", "ecam", "fence", "pci_capabilities", "pci_config", "pci_guard")
    ),
    "hypervisor/lib/text.c",
)


@functools.cache
def program() -> Path:
    folder = OUTPUT / "board"
    folder.mkdir(parents=True, exist_ok=True)
    return build("pci_config_driver", _SOURCES, ("-I", str(board_config(folder))))


def run(commands: Sequence[str]) -> list[str]:
    """What the driver prints."""
    text = "\n".join(commands) + "\n"
    done = subprocess.run([program()], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def summed(data: bytes, at: int) -> bytes:
    """The bytes with the one at `at` such that all sum to zero."""
    return data[:at] + bytes([-(sum(data) - data[at]) & 0xFF]) + data[at + 1 :]


def table(signature: bytes, body: bytes) -> bytes:
    """A table with ACPI's header (ACPI specification 6.5, section 5.2.6)."""
    header = signature + struct.pack("<IBB", 36 + len(body), 1, 0) + bytes(26)
    return summed(header + body, 9)


def mcfg(entries: Sequence[tuple[int, int, int, int]]) -> bytes:
    """The table of windows: base, segment, first and last bus of each."""
    return table(b"MCFG", bytes(8) + b"".join(ECAM_ENTRY.pack(*entry, 0) for entry in entries))


def rsdp(*, revision: int, root: int = ROOT) -> bytes:
    """The root pointer, to an RSDT (revision 0) or an XSDT (2)."""
    first = b"RSD PTR " + bytes(7) + bytes([revision]) + struct.pack("<I", root)
    first = summed(first, 8)
    if revision < 2:
        return first
    return summed(first + struct.pack("<IQB3x", 36, root, 0), 32)


def root_table(revision: int, addresses: Sequence[int]) -> bytes:
    if revision < 2:
        return table(b"RSDT", struct.pack(f"<{len(addresses)}I", *addresses))
    return table(b"XSDT", struct.pack(f"<{len(addresses)}Q", *addresses))


def firmware(windows: Sequence[tuple[int, int, int, int]], revision: int = 2) -> list[str]:
    """The commands that put the tables into memory and read them."""
    return [
        f"mem {ROOT:x} {root_table(revision, [0x1234, MCFG]).hex()}",
        f"mem {MCFG:x} {mcfg(windows).hex()}",
        f"init {rsdp(revision=revision).hex()}",
    ]


@dataclass(frozen=True)
class Capability:
    """One of a function's, with the bytes after its ID and pointer."""

    id: int
    offset: int
    body: bytes


def function(code: int, capabilities: Sequence[Capability] = ()) -> bytearray:
    """256 bytes of a function with this class (24 bits) and these capabilities, in their order."""
    space = bytearray(256)
    struct.pack_into("<HH", space, 0, 0x8086, 0x10D3)
    struct.pack_into("<I", space, 8, code << 8)
    at = 0x34
    for capability in capabilities:
        space[6] |= 0x10
        space[at] = capability.offset
        space[capability.offset : capability.offset + 2] = bytes([capability.id, 0])
        end = capability.offset + 2 + len(capability.body)
        space[capability.offset + 2 : end] = capability.body
        at = capability.offset + 1
    return space
