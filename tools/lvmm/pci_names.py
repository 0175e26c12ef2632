"""What a PCI device is called: pci.ids where the system has it, and the classes of PCI.

pci.ids comes with the distribution's package of that name; without it, numbers and classes remain.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FILES = (Path("/usr/share/misc/pci.ids"), Path("/usr/share/hwdata/pci.ids"))

# PCI Code and ID Assignment Specification, chapter 1: base classes, then classes with subclass.
_CLASSES = {
    "00": "old device",
    "01": "mass storage controller",
    "02": "network controller",
    "03": "display controller",
    "04": "multimedia device",
    "05": "memory controller",
    "06": "bridge",
    "07": "communication controller",
    "08": "system peripheral",
    "09": "input device",
    "0a": "docking station",
    "0b": "processor",
    "0c": "serial bus controller",
    "0d": "wireless controller",
    "0e": "intelligent I/O controller",
    "0f": "satellite communication controller",
    "10": "encryption controller",
    "11": "signal processing controller",
    "0100": "SCSI storage controller",
    "0101": "IDE controller",
    "0104": "RAID controller",
    "0106": "SATA controller",
    "0107": "SAS controller",
    "0108": "NVMe controller",
    "0200": "Ethernet controller",
    "0300": "VGA controller",
    "0401": "audio device",
    "0403": "HD audio device",
    "0c03": "USB controller",
    "0c05": "SMBus",
}


def class_name(code: str) -> str:
    """What a class code of six hexadecimal digits means."""
    known = _CLASSES.get(code[:4]) or _CLASSES.get(code[:2])
    return known or f"device of class {code}"


def device_name(vendor: str, device: str, files: tuple[Path, ...] = _FILES) -> str | None:
    """Vendor and device by name; IDs of four hexadecimal digits. None where nothing is known."""
    for file in files:
        try:
            names = _read(file)
        except OSError:
            continue
        found = [names[key] for key in (vendor, vendor + device) if key in names]
        return " ".join(found) or None
    return None


def has_names(files: tuple[Path, ...] = _FILES) -> bool:
    """Whether there is a list of names."""
    return any(file.exists() for file in files)


@cache
def _read(file: Path) -> dict[str, str]:
    """The names of vendors, by ID, and of devices, by both IDs (format: pci.ids itself)."""
    names = {}
    vendor = ""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("C "):
            break  # classes follow
        identifier, _, name = line.strip().partition("  ")
        if not name or line.startswith(("#", "\t\t")):
            continue
        if line.startswith("\t"):
            names[vendor + identifier.lower()] = name.strip()
        else:
            vendor = identifier.lower()
            names[vendor] = name.strip()
    return names
