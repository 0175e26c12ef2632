"""What can go wrong on the debug link; str() of each is one line for the user."""

from __future__ import annotations

from lvmm.errors import MachineError
from lvmm.link.layout import Opcode, Result


class LinkError(MachineError):
    """The monitor did not do what was asked."""


class LinkClosed(LinkError):
    """The line is closed: the machine is gone, or somebody pulled the cable."""


class LinkTimeout(LinkError):
    """No answer in time. Whether the request was carried out is unknown."""

    exit_code = 7


class LinkMismatch(LinkError):
    """The monitor and these tools are of different versions."""

    exit_code = 5


class SessionLost(LinkError):
    """The monitor knows nothing of this session: it was started again, or another tool attached.

    The request was not carried out, unless it was before the monitor's restart. The next request
    starts a new session.
    """


class RequestFailed(LinkError):
    """The monitor answered, and the answer is no."""

    def __init__(self, opcode: Opcode, result: int, text: str) -> None:
        name = opcode.name.lower().replace("_", " ")
        super().__init__(f"the monitor did not {name}: {text or explain(result)}")
        self.opcode = opcode
        self.result = result
        self.why = text or explain(result)


class BadRequest(RequestFailed):
    """The monitor could make nothing of the request."""


class RequestRefused(RequestFailed):
    """Not allowed in this mode, like writing in a replay."""


class GuestRunning(RequestFailed):
    """The guest must be stopped first."""


class Unsupported(RequestFailed):
    """This monitor cannot do that."""


class NoSpace(RequestFailed):
    """No free breakpoint, or no room."""


class MemoryFault(RequestFailed):
    """Memory is not accessible; `done` bytes before it were, `data` is what was read of them."""

    def __init__(self, opcode: Opcode, address: int, done: int, data: bytes = b"") -> None:
        super().__init__(opcode, Result.FAULT, f"no memory at {address + done:#x}")
        self.address = address
        self.done = done
        self.data = data


_EXPLANATIONS = {
    Result.BAD_REQUEST: "it could make nothing of the request",
    Result.REFUSED: "not allowed in this mode",
    Result.FAULT: "memory is not accessible",
    Result.BUSY: "the guest is running; stop it first",
    Result.UNSUPPORTED: "it cannot do that",
    Result.NO_SPACE: "it has no room left",
}

_CLASSES: dict[int, type[RequestFailed]] = {
    Result.BAD_REQUEST: BadRequest,
    Result.REFUSED: RequestRefused,
    Result.BUSY: GuestRunning,
    Result.UNSUPPORTED: Unsupported,
    Result.NO_SPACE: NoSpace,
}


def explain(result: int) -> str:
    """What a result says when the monitor adds no text to it."""
    return _EXPLANATIONS.get(Result(result), "") if result in set(Result) else f"result {result}"


def failure(opcode: Opcode, result: int, text: str) -> RequestFailed:
    """The exception for a result other than OK and NO_SESSION."""
    one_line = " ".join(text.split())
    return _CLASSES.get(result, RequestFailed)(opcode, result, one_line)
