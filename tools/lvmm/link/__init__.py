"""The debug link: the tools' end of the monitor's serial line (docs/debug-link.md).

with LinkClient(lambda: open_stream("localhost:4444")) as link:
    stopped = link.wait_for_stop(link.interrupt())
    print(hex(stopped.rip), link.read_memory(stopped.rip, 16).hex())
"""

from lvmm.link.client import LinkClient
from lvmm.link.connection import Statistics, Timing
from lvmm.link.errors import (
    BadRequest,
    GuestRunning,
    LinkClosed,
    LinkError,
    LinkMismatch,
    LinkTimeout,
    MemoryFault,
    NoSpace,
    RequestFailed,
    RequestRefused,
    SessionLost,
    Unsupported,
)
from lvmm.link.layout import (
    BreakpointKind,
    Checkpoint,
    LookBack,
    MemoryKind,
    MemoryRange,
    MemorySpace,
    Mode,
    Position,
    QueryKind,
    Register,
    Registers,
    RunState,
    Status,
    StopReason,
)
from lvmm.link.replay_requests import Checkpoints
from lvmm.link.session import Hello
from lvmm.link.stream import ByteStream, SerialStream, SocketStream, open_stream

__all__ = [
    "BadRequest",
    "BreakpointKind",
    "ByteStream",
    "Checkpoint",
    "Checkpoints",
    "GuestRunning",
    "Hello",
    "LinkClient",
    "LinkClosed",
    "LinkError",
    "LinkMismatch",
    "LinkTimeout",
    "LookBack",
    "MemoryFault",
    "MemoryKind",
    "MemoryRange",
    "MemorySpace",
    "Mode",
    "NoSpace",
    "Position",
    "QueryKind",
    "Register",
    "Registers",
    "RequestFailed",
    "RequestRefused",
    "RunState",
    "SerialStream",
    "SessionLost",
    "SocketStream",
    "Statistics",
    "Status",
    "StopReason",
    "Timing",
    "Unsupported",
    "open_stream",
]
