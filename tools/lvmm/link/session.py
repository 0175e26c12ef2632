"""A session with the monitor: handshake, sequence numbers, and a new session after trouble."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from lvmm.link.connection import Connection, Listeners, Statistics, Timing
from lvmm.link.errors import LinkError, LinkMismatch, SessionLost, failure
from lvmm.link.frame import Frame
from lvmm.link.layout import (
    FIRST_SEQUENCE,
    LAYOUT_DIGEST,
    MAGIC,
    PROTOCOL_VERSION,
    SHAPES,
    Channel,
    HelloReply,
    HelloRequest,
    Opcode,
    Result,
    RunState,
)
from lvmm.link.stream import ByteStream

_NONCE_BITS = 64
_CARRIED_OUT = (Result.OK, Result.FAULT)

# A monitor looks at its UART now and then while the guest runs, and the UART keeps so many bytes:
# the start of a longer frame would be lost. So a short one goes first. When it has answered that,
# the monitor listens for a while.
_UART_FIFO = 16
# The short one has a sequence number that is out of order: the reply is NO_SESSION, and no session
# notices anything.
_OUT_OF_ORDER = 128


@dataclass(frozen=True)
class Hello:
    """What the monitor says of itself when a session starts."""

    state: int  # enum run_state
    mode: int  # enum mode
    board: str
    monitor: str


class LinkSession:
    """Makes requests on a line that `open_line` opens, one at a time, from any thread.

    A session starts by itself with the first request, and with the first one after a request that
    failed without an answer.
    """

    def __init__(
        self,
        open_line: Callable[[], ByteStream],
        listeners: Listeners,
        timing: Timing,
    ) -> None:
        self.statistics = Statistics()
        self.timing = timing
        self._open_line = open_line
        self._listeners = listeners
        self.exclusive = threading.RLock()  # who holds it alone makes requests
        self._connection: Connection | None = None
        self.hello: Hello | None = None  # of the session, while there is one
        self._sequence = 0
        self.attentive = False  # the guest is known to be stopped: the monitor only listens

    @property
    def failure(self) -> LinkError | None:
        """Why nothing comes from the line any more; None: it is open, or was not opened yet."""
        return self._connection.failure if self._connection is not None else None

    def listen(self) -> None:
        """Opens the line: what the monitor says goes to the listeners, but it is asked nothing.

        Raises what `open_line` raises.
        """
        with self.exclusive:
            self._open()

    def connect(self) -> Hello:
        """Starts a session if there is none.

        Raises LinkMismatch, LinkTimeout, LinkClosed, and what `open_line` raises.
        """
        self._refuse_listeners()
        with self.exclusive:
            if self.hello is None:
                self.hello = self._start(self._open())
            return self.hello

    def request(self, opcode: Opcode, fields: bytes, data: bytes) -> tuple[bytes, bytes, Result]:
        """Makes a request; returns the reply's fields and data, and OK or FAULT.

        Raises the exceptions of lvmm.link.errors. After LinkTimeout or LinkClosed it is unknown
        whether the request was carried out; it was not more than once.
        """
        return _parse(opcode, self.transact(opcode, fields + data))

    def transact(self, opcode: Opcode, content: bytes) -> bytes:
        """Makes a request of fields and data together; returns the reply's payload as it came.

        Raises as request() does, but not for what the monitor refuses.
        """
        self._refuse_listeners()
        with self.exclusive:
            self.connect()
            connection = self._open()
            sequence = self._sequence
            self._sequence = (sequence + 1) & 0xFF
            request = Frame(SHAPES[opcode].channel, sequence, bytes((opcode,)) + content)
            try:
                payload = self._exchange(connection, request)
            except BaseException:
                self.hello = None
                raise
            if payload[:1] == bytes((Result.NO_SESSION,)):
                self.hello = None
                raise SessionLost(
                    "the monitor was started again, or another tool took over its line"
                )
            return payload

    def close(self) -> None:
        """Gives the line up. A request that another thread waits for fails with LinkClosed."""
        connection = self._connection
        if connection is not None:
            connection.close()
        with self.exclusive:
            self.hello = None
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _refuse_listeners(self) -> None:
        """Before anything is waited for: a listener would wait for itself."""
        connection = self._connection
        if connection is not None and connection.is_listening:
            raise RuntimeError("a listener of the link must not make requests")

    def _open(self) -> Connection:
        """The connection; a new one when the line was closed."""
        if self._connection is not None and self._connection.failure is not None:
            self._connection.close()
            self._connection = None
            self.hello = None
        if self._connection is None:
            self._connection = Connection(self._open_line(), self._listeners, self.statistics)
        return self._connection

    def _exchange(
        self,
        connection: Connection,
        request: Frame,
        accept: Callable[[bytes], bool] = lambda _payload: True,
    ) -> bytes:
        knock = None
        if len(request.encode()) > _UART_FIFO:
            sequence = (request.sequence + _OUT_OF_ORDER) & 0xFF
            knock = Frame(Channel.CONTROL, sequence, bytes((Opcode.STATUS,)))
        return connection.exchange(
            request, self.timing, accept, knock=knock, attentive=self.attentive
        )

    def _start(self, connection: Connection) -> Hello:
        request = HelloRequest(
            MAGIC, PROTOCOL_VERSION, LAYOUT_DIGEST, secrets.randbits(_NONCE_BITS)
        )
        self.attentive = False
        size = HelloRequest.STRUCT.size  # the reply starts with the same fields

        def is_ours(payload: bytes) -> bool:
            if len(payload) < 1 + size:
                return False
            reply = HelloRequest.unpack(payload, 1)
            return reply.magic == MAGIC and reply.nonce == request.nonce

        content = bytes((Opcode.HELLO,)) + request.pack()
        payload = self._exchange(
            connection, Frame(Channel.CONTROL, FIRST_SEQUENCE - 1, content), is_ours
        )
        theirs = HelloRequest.unpack(payload, 1)
        if payload[0] != Result.OK or (theirs.version, theirs.layout) != (
            PROTOCOL_VERSION,
            LAYOUT_DIGEST,
        ):
            raise LinkMismatch(
                f"the monitor speaks link protocol {theirs.version} (layout {theirs.layout:08x}), "
                f"these tools {PROTOCOL_VERSION} (layout {LAYOUT_DIGEST:08x}): "
                "build the monitor and run the tools from the same version of lvmm"
            )
        if len(payload) != 1 + HelloReply.STRUCT.size:
            raise LinkError("the monitor's answer to HELLO is malformed")
        reply = HelloReply.unpack(payload, 1)
        self._sequence = FIRST_SEQUENCE
        self.attentive = reply.state != RunState.RUNNING
        return Hello(reply.state, reply.mode, _name(reply.board), _name(reply.monitor))


def _name(field: tuple[int, ...]) -> str:
    return bytes(field).rstrip(b"\0").decode("utf-8", "replace")


def _parse(opcode: Opcode, payload: bytes) -> tuple[bytes, bytes, Result]:
    if not payload:
        raise LinkError("the monitor sent an empty reply")
    result = payload[0]
    if result not in _CARRIED_OUT:
        raise failure(opcode, result, payload[1:].decode("utf-8", "replace"))
    shape = SHAPES[opcode]
    end = 1 + shape.reply_size
    if len(payload) < end or (len(payload) > end and not shape.reply_data):
        raise LinkError(f"the monitor's reply to {opcode.name} has a wrong length")
    return payload[1:end], payload[end:], Result(result)
