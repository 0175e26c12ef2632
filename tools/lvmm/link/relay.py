"""The monitor's end of the debug link, for another tool: its requests go on in our session.

What docs/debug-link.md says of sessions holds for each tool by itself, so several can be at work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvmm.link.client import LinkClient
from lvmm.link.errors import SessionLost
from lvmm.link.frame import Frame
from lvmm.link.layout import (
    DATA_MAX,
    FIRST_SEQUENCE,
    LAYOUT_DIGEST,
    MAGIC,
    PROTOCOL_VERSION,
    REPLY_FLAG,
    SHAPES,
    Channel,
    HelloReply,
    HelloRequest,
    Opcode,
    Result,
    WriteConsoleReply,
)

_REQUESTS = (Channel.CONTROL, Channel.CONSOLE, Channel.LOG, Channel.MEMORY)
_NAME_SIZE = 32
_OPCODES = frozenset(Opcode)

# Types to the guest's serial port; returns how many bytes were taken. Raises TypingRefused.
Typewriter = Callable[[bytes], int]


class TypingRefused(Exception):
    """The guest takes no input; str() says why."""


@dataclass
class _Last:
    """The last request, and its reply."""

    request: Frame
    reply: Frame


class Relay:
    """One tool's session. `typewriter` does what the monitor cannot: its line is not the guest's.

    answer() raises what LinkClient's methods do.
    """

    def __init__(self, link: LinkClient, typewriter: Typewriter) -> None:
        self._link = link
        self._typewriter = typewriter
        self._nonce: int | None = None
        self._sequence = 0
        self._last: _Last | None = None

    @property
    def in_session(self) -> bool:
        """Whether the tool has said HELLO: before that, nothing unasked is sent in frames."""
        return self._nonce is not None

    def answer(self, frame: Frame) -> Frame | None:
        """Carries a request out; None where the frame is no request."""
        if frame.channel not in _REQUESTS:
            return None
        if frame.channel == Channel.CONTROL and frame.payload[:1] == bytes((Opcode.HELLO,)):
            return _reply(frame, self._hello(frame.payload[1:]))
        if self._last is None or self._last.request != frame:
            if not self.in_session or frame.sequence != (self._sequence + 1) & 0xFF:
                return _reply(frame, bytes((Result.NO_SESSION,)))
            self._sequence = frame.sequence
            self._last = _Last(frame, _reply(frame, self._carry_out(frame)))
        return self._last.reply

    def _hello(self, content: bytes) -> bytes:
        if len(content) < HelloRequest.STRUCT.size:
            return bytes((Result.BAD_REQUEST,))
        request = HelloRequest.unpack(content)
        ours = self._link.connect()
        state = self._link.status().state
        result = Result.BAD_REQUEST
        if request.magic == MAGIC:
            matches = (request.version, request.layout) == (PROTOCOL_VERSION, LAYOUT_DIGEST)
            result = Result.OK if matches else Result.REFUSED
            if matches and request.nonce != self._nonce:
                self._nonce = request.nonce
                self._sequence = FIRST_SEQUENCE - 1
                self._last = None
        reply = HelloReply(
            MAGIC,
            PROTOCOL_VERSION,
            LAYOUT_DIGEST,
            request.nonce,
            state,
            ours.mode,
            _name(ours.board),
            _name(ours.monitor),
        )
        return bytes((result,)) + reply.pack()

    def _carry_out(self, frame: Frame) -> bytes:
        number, content = frame.payload[:1], frame.payload[1:]
        if not number:
            return bytes((Result.BAD_REQUEST,))
        if number[0] not in _OPCODES:
            return bytes((Result.UNSUPPORTED,))
        opcode = Opcode(number[0])
        shape = SHAPES[opcode]
        data = len(content) - shape.request_size
        if frame.channel != shape.channel or not 0 <= data <= DATA_MAX * shape.request_data:
            return bytes((Result.BAD_REQUEST,))
        if opcode == Opcode.WRITE_CONSOLE:
            return self._type(content)
        try:
            return self._link.relay(opcode, content)
        except SessionLost:
            self._nonce = None
            return bytes((Result.NO_SESSION,))

    def _type(self, data: bytes) -> bytes:
        try:
            done = self._typewriter(data)
        except TypingRefused as reason:
            return bytes((Result.REFUSED,)) + str(reason).encode()
        return bytes((Result.OK,)) + WriteConsoleReply(done).pack()


def _reply(request: Frame, payload: bytes) -> Frame:
    return Frame(request.channel | REPLY_FLAG, request.sequence, payload)


def _name(text: str) -> tuple[int, ...]:
    return tuple(text.encode()[:_NAME_SIZE].ljust(_NAME_SIZE, b"\0"))
