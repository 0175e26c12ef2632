"""The state of one client's conversation, which the packets' handlers share."""

from __future__ import annotations

import functools
from collections.abc import Callable

from lvmm.gdb.machine import Machine
from lvmm.gdb.progress import Progress
from lvmm.gdb.registers import Description
from lvmm.gdb.target import MemoryFault, ReadOnly, TargetError

# Numbers of errors, as errno has them.
EFAULT, EINVAL, EROFS, EIO = 14, 22, 30, 5


class Session:
    """One client. `send` sends a packet that is no reply."""

    def __init__(self, machine: Machine, send: Callable[[bytes], None]) -> None:
        self.machine = machine
        self.send = send
        self.features: frozenset[str] = frozenset()  # that the client has announced
        self.no_ack = False
        self.ended = False  # the client has taken its leave
        self.progress = Progress(machine.target)
        self.memory_map = b""  # the document that is being read

    @functools.cached_property
    def description(self) -> Description:
        """The registers that this client is told of, once: it does not ask again."""
        return self.machine.description()

    def show(self, text: str) -> None:
        """Show text on the client's console: only while it waits for a stop or a command's end."""
        data = text.encode("utf-8", "replace")
        for at in range(0, len(data), 1024):
            self.send(b"O" + data[at : at + 1024].hex().encode())

    def error(self, number: int, text: str, *, numeric: bool = False) -> bytes:
        """An error reply: with the text, where the client shows it and `numeric` is not needed.

        gdb shows the text of errors since its first versions, but announces that only since 16, and
        before it did not expect one for memory that is read; qRelocInsn tells gdb from LLDB.
        """
        shown = "error-message" in self.features
        if shown or ("qRelocInsn" in self.features and not numeric):
            return b"E." + "".join(map(_plain, text)).encode("ascii")
        return b"E%02x" % number

    def failure(self, error: TargetError, *, numeric: bool = False) -> bytes:
        """The error reply for what the target could not do."""
        if isinstance(error, ReadOnly):
            return self.error(EROFS, str(error), numeric=numeric)
        number = EFAULT if isinstance(error, MemoryFault) else EIO
        return self.error(number, str(error), numeric=numeric)


def _plain(character: str) -> str:
    return character if " " <= character <= "~" and character not in "$#}*" else "?"
