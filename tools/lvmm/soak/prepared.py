"""A guest that is ready to be recorded, and the other end of its cable."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvmm.board import Board, Device
from lvmm.errors import MachineError
from lvmm.guest import Guest


@dataclass(frozen=True)
class Prepared:
    """`settings` are what was drawn, for people. `begins`: what it says when its boot is over, if
    that takes long. `whole`: all of its run is recorded. `dma`: it has devices that write to its
    memory. While `peer` is entered the other end of the cable is there, which raises MachineError
    on leaving where it was not served. `disk` and `usb_disk` are contents; a guest of kind "disk"
    begins on `disk`. `devices`: further cards.
    """

    guest: Guest
    settings: str
    begins: str = ""
    whole: bool = False
    dma: bool = False
    net_port: int | None = None
    peer: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    disk: bytes = b""
    usb_disk: bytes = b""
    devices: tuple[Device, ...] = ()

    def on_board(self, board: Board) -> Board:
        """The board with the guest's own cards, too."""
        return dataclasses.replace(board, device=(*board.device, *self.devices))


@contextmanager
def images(prepared: Prepared, directory: Path) -> Iterator[tuple[Guest, Path | None, Path | None]]:
    """While it runs: the guest, the image of its further disk, and of that on USB, if any."""
    paths = []
    for name, content in (("disk.img", prepared.disk), ("usb-disk.img", prepared.usb_disk)):
        path = directory / name if content else None
        if path is not None:
            path.write_bytes(content)
        paths.append(path)
    disk, usb_disk = paths
    guest = prepared.guest
    if guest.kind == "disk":
        guest, disk = dataclasses.replace(guest, disk=disk), None
    yield guest, disk, usb_disk
    for path in paths:
        if path is not None:
            path.unlink()  # a replay needs none


def served(complete: bool, result: object) -> None:
    """Raises MachineError where the guest and the other end of its cable are not done."""
    if not complete:
        raise MachineError(f"the guest and its peer are not done: {result}")
