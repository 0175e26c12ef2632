"""What a board is under Bochs: the emulator's configuration file."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from lvmm import provision
from lvmm.board import Board

_MAC_PREFIX = "52:54:00:12:34"
MAC_ADDRESS = f"{_MAC_PREFIX}:56"
_NE2000_MAC_ADDRESS = f"{_MAC_PREFIX}:70"
_NO_NETWORK = "ethmod=null, ethdev=none"
_NOISE_BYTES = 4 << 20  # a second of sound has 176,400
USB_IMAGE = "usb-disk"  # a link to it: names of other files may have what separates options

# Features that no CPU of the machine has. Bochs cannot enter or leave a guest whose CR4.LA57 is not
# its own: it takes that for a MOV to CR4 in IA-32e mode (SDM Vol. 3, 4.1.1), and panics.
_WITHOUT = "la57"

# Models of devices whose panics are about what they are told: no reason to end the machine, since
# the guest may tell them anything.
_TOLERANT = (
    *("biosdev", "vgabios", "floppy", "ioapic", "pic", "dma", "pit82c54", "cmos", "hpet"),
    *("keyboard", "harddrv", "atapi", "pci_ide", "pci2isa", "pci", "vga"),
)


@dataclass(frozen=True)
class Machine:
    """A board, and what lvmm.emulator.Emulator says of it; paths are absolute."""

    board: Board
    run_dir: Path
    iso: Path | None
    disk: Path | None
    keep_disk: bool
    guest_disk: Path | None
    write_guest_disk: bool
    usb_disk: Path | None
    net_port: int | None
    seed: int
    start_time: int
    ips: int

    @property
    def log_path(self) -> Path:
        """Bochs's own log."""
        return self.run_dir / "bochs.log"


def bochsrc(machine: Machine, install: provision.Bochs, guest_port: int, monitor_port: int) -> str:
    """What Bochs reads; the ports are those to which it connects the serial lines."""
    board = machine.board
    memory = board.memory.total_mib
    model = f"model={board.emulator.cpu_model}, exclude_features={_WITHOUT}"
    lines = [
        "# Written by lvmm for one run.",
        f"memory: guest={memory}, host={memory}, block_size={_block_kib(memory)}",
        f"cpu: {model}, count=1, ips={machine.ips}, "
        # A triple fault of the monitor ends the emulator with a message.
        f'reset_on_triple_fault=0, ignore_bad_msrs=0, msrs="{provision.MSRS}"',
        f"clock: sync=none, time0={machine.start_time}",
        f'romimage: file="{install.bios}"',
        f'vgaromimage: file="{install.vga_bios}"',
        "vga: extension=none, update_freq=1, realtime=0",
        "display_library: nogui",
        "config_interface: textconfig",
        "keyboard: type=mf",
        "mouse: enabled=0",
        "speaker: enabled=0",
        "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy",
        "parport1: enabled=0",
        "floppy_bootsig_check: disabled=0",
        f'com1: enabled=1, mode=socket-client, dev="127.0.0.1:{guest_port}"',
        f'com2: enabled=1, mode=socket-client, dev="127.0.0.1:{monitor_port}"',
        f'log: "{machine.log_path}"',
        f"panic: action=fatal, {', '.join(f'{device}=report' for device in _TOLERANT)}",
        # Bochs calls every EPT violation an error; the guest's accesses to devices are such.
        "error: action=report, cpu0=ignore",
        "info: action=report",
        "debug: action=ignore",
    ]
    if machine.iso:
        lines += [
            f'ata0-master: type=cdrom, path="{machine.iso}", status=inserted',
            "boot: cdrom",
        ]
    else:
        mode = "flat" if machine.keep_disk else _volatile(machine, "disk")
        lines += [f'ata0-master: type=disk, path="{machine.disk}", mode={mode}', "boot: disk"]
    lines += _guest_disk_lines(machine)
    if machine.usb_disk:
        image = f"path:volatile:{USB_IMAGE}, journal:{USB_IMAGE}.redolog"
        lines.append(f'usb_uhci: enabled=1, port1=disk, options1="speed:full, {image}"')
    lines += _pci_lines(machine)
    return "\n".join(lines) + "\n"


def _volatile(machine: Machine, name: str) -> str:
    """The mode of a disk image that stays as it is."""
    return f'volatile, journal="{machine.run_dir / name}.redolog"'


def _guest_disk_lines(machine: Machine) -> list[str]:
    if machine.guest_disk is None:
        return ["ata1: enabled=0"]
    path = machine.guest_disk
    mode = "flat" if machine.write_guest_disk else _volatile(machine, "guest-disk")
    return [
        "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
        f'ata1-master: type=disk, path="{path}", mode={mode}',
    ]


def _pci_lines(machine: Machine) -> list[str]:
    slots = []
    lines = []
    cards = 0
    network = _NO_NETWORK
    if machine.net_port is not None:
        network = f"ethmod=socket, ethdev={machine.net_port}"
    for device in machine.board.device:
        _bus, number, _function = device.pci_address
        # Slot 1 of the i440FX board is device 2; devices 0 and 1 are the chipset's.
        slots.append(f", slot{number - 1}={device.model}")
        if device.model == "e1000":
            mac = f"{_MAC_PREFIX}:{0x56 + cards:02x}"
            lines.append(f"e1000: card={cards}, enabled=1, mac={mac}, {network}")
            network = _NO_NETWORK
            cards += 1
        elif device.model == "ne2k":
            card = f"card=0, enabled=1, type=pci, mac={_NE2000_MAC_ADDRESS}"
            lines.append(f"ne2k: {card}, {network}")
            network = _NO_NETWORK
        elif device.model == "es1370":
            lines += _sound_lines(machine)
    return [f"pci: enabled=1, chipset=i440fx{''.join(slots)}", *lines]


def _sound_lines(machine: Machine) -> list[str]:
    """A sound card that hears noise, which `seed` selects; what it plays is lost.

    The driver for input reads any file, though that refuses a sound device's settings.
    """
    noise = machine.run_dir / "noise.raw"
    noise.write_bytes(random.Random(machine.seed).randbytes(_NOISE_BYTES))
    return [
        "es1370: enabled=1",
        f"sound: waveoutdrv=dummy, midioutdrv=dummy, waveindrv=oss, wavein={noise}",
    ]


def _block_kib(memory_mib: int) -> int:
    """The largest block of memory that Bochs has: a long list of blocks takes it long."""
    return min(memory_mib & -memory_mib, 8) << 10
