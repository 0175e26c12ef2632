"""The server: one debugger at a time on a TCP port of the loopback interface.

Everything happens in the caller's thread, in short turns: serve_once().
"""

from __future__ import annotations

import collections
import contextlib
import select
import socket
import time
from collections.abc import Callable

from lvmm.gdb.commands import handle
from lvmm.gdb.connection import Connection, ConnectionGone
from lvmm.gdb.machine import Machine
from lvmm.gdb.registers import X86_64, Description
from lvmm.gdb.session import Session
from lvmm.gdb.stop_reply import stop_reply
from lvmm.gdb.target import Stop, Target, TargetError
from lvmm.listener import Listener

# While the guest runs, the client is looked at so often: that is how late Ctrl-C may be.
_TURN_S = 0.02
# What a client may send ahead while the guest runs, in packets.
_QUEUE = 256
# How many clients may wait for the one that is served to be gone, and how long each. One that sends
# something before gets the refusal; more are not listened to.
_WAITING = 16
_WAIT_S = 5.0
# How often the one that is served is looked at first: what it sent last may be unread.
_LAST_WORDS = 8
_REFUSAL = b"E.another debugger is attached to this guest; detach it first"


class GdbServer:
    """Serves `target` to debuggers. `say` gets one line for each thing that the user should know.

    `early` is what gdb is told of the registers while the guest is not in long mode: I386 for a
    guest whose symbols are in a 32-bit ELF file.

    Raises EnvironmentProblem when the port cannot be had. Port 0 is any free one: see `port`. It is
    taken at once, but a debugger is refused until open(): gdb tries again for a while, and waits
    for an answer hardly at all.
    """

    def __init__(
        self,
        target: Target,
        port: int,
        say: Callable[[str], None],
        early: Description = X86_64,
    ) -> None:
        self._machine = Machine(target, early)
        self._say = say
        self._listener = Listener(port, "for gdb", "--gdb PORT")
        self.port = self._listener.port
        self.detached = False
        self._client: Connection | None = None
        self._session: Session | None = None
        self._queue: collections.deque[bytes] = collections.deque()
        self._waiting: dict[Connection, float] = {}

    def open(self) -> None:
        """Debuggers can connect from now on. Raises EnvironmentProblem."""
        self._listener.open()

    @property
    def attached(self) -> bool:
        """Whether a debugger is connected."""
        return self._client is not None

    def serve_forever(self, until: Callable[[], bool]) -> None:
        """Serve until `until()` says so, which is asked several times a second."""
        while not until():
            self.serve_once(0.2)

    def serve_once(self, timeout_s: float) -> None:
        """One turn: wait up to `timeout_s` for clients and for the guest, and answer."""
        running = self._machine.running
        for stream in self._readable(0 if running or self._queue else timeout_s):
            if stream is self._listener.socket:
                self._accept()
            elif self._client and stream is self._client.stream:
                self._guarded(self._receive)
            else:
                self._take_or_refuse(stream)
        self._forget_waiting()
        if self._machine.running:
            self._guarded(lambda: self._wait(min(timeout_s, _TURN_S)))
        while self._queue and not self._machine.running:
            self._guarded(self._answer_next)

    def close(self) -> None:
        """Disconnect the client, clear its breakpoints, and give the port back."""
        self._drop("")
        for connection in self._waiting:
            connection.close()
        self._waiting.clear()
        self._listener.close()

    def _readable(self, timeout_s: float) -> list[socket.socket]:
        # The client comes first: when it is gone, there is a place for the next one.
        connections = [*([self._client] if self._client else []), *self._waiting]
        streams = [*(connection.stream for connection in connections), self._listener.socket]
        return select.select(streams, [], [], timeout_s)[0]

    def _guarded(self, turn: Callable[[], None]) -> None:
        """Do something for the client, which may be gone."""
        if not self._client:
            return
        try:
            turn()
        except ConnectionGone:
            does = "runs on" if self._machine.running else "stays as it is"
            self._drop(f"gdb is gone; the guest {does}")

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.socket.accept()
        except OSError:
            return
        connection = Connection(stream)
        if not self._client:
            self._begin(connection)
        elif len(self._waiting) == _WAITING:
            connection.close()
        else:
            self._waiting[connection] = time.monotonic() + _WAIT_S

    def _begin(self, connection: Connection) -> None:
        """Serve this client."""
        self.detached = False
        self._client = connection
        self._session = Session(self._machine, connection.send)
        self._say("gdb is connected")

    def _receive(self) -> None:
        """Take in what the client has sent, and answer it unless the guest runs."""
        client = self._client
        assert client
        for data in client.receive():
            if data is None:
                self._interrupt()
            elif len(self._queue) >= _QUEUE:
                raise ConnectionGone
            else:
                self._queue.append(data)
                if not self._machine.running:
                    self._answer_next()
            if self._client is not client:
                return  # it has taken its leave; nothing behind that counts

    def _interrupt(self) -> None:
        """Ctrl-C. One that comes when the guest has just stopped is late, and no error."""
        assert self._session
        try:
            self._machine.interrupt()
        except TargetError as error:
            self._session.show(f"cannot interrupt the guest: {error}\n")

    def _answer_next(self) -> None:
        """Handle one packet."""
        assert self._client and self._session
        reply = handle(self._session, self._queue.popleft())
        if reply is not None:
            self._client.send(reply)
        self._client.no_ack = self._session.no_ack
        if self._session.ended:
            self._drop("gdb has detached")
            self.detached = True

    def _wait(self, timeout_s: float) -> None:
        """Tell the client when the guest has stopped."""
        try:
            stop = self._machine.wait(timeout_s)
            if stop is not None:
                self._report(stop)
            elif self._session and (line := self._session.progress.line()):
                self._session.show(line)
        except TargetError as error:
            self._lost(error)

    def _report(self, stop: Stop) -> None:
        assert self._client and self._session
        session = self._session
        reply = stop_reply(stop, self._machine, session.description, session.features, first=False)
        if stop.text:
            session.show(f"{stop.reason.value}: {stop.text}\n")
        self._client.send(reply)

    def _lost(self, error: TargetError) -> None:
        """The target failed while the guest ran: the client is told, and disconnected."""
        assert self._session
        self._session.show(f"lost the guest: {error}\n")
        self._drop(f"disconnected gdb: {error}")

    def _drop(self, why: str) -> None:
        """Forget the client. What is said of it is true by then: its breakpoints are gone."""
        if not self._client:
            return
        self._client.close()
        self._client = self._session = None
        self._queue.clear()
        said = [why] if why else []
        try:
            self._machine.abandon()
        except TargetError as error:
            said.append(f"cannot clear gdb's breakpoints: {error}")
        for line in said:
            self._say(line)

    def _take_or_refuse(self, stream: socket.socket) -> None:
        """A client that waits sends its first packet: serve it when the other is gone by now."""
        connection = next((c for c in self._waiting if c.stream is stream), None)
        if connection is None:
            return
        for _ in range(_LAST_WORDS):
            if not (self._client and select.select([self._client.stream], [], [], 0)[0]):
                break
            self._guarded(self._receive)
        if not self._client:
            del self._waiting[connection]
            self._begin(connection)
            self._guarded(self._receive)
            return
        with contextlib.suppress(ConnectionGone):
            if next(iter(connection.receive()), None) is None:
                return
            connection.send(_REFUSAL)
        connection.close()
        del self._waiting[connection]

    def _forget_waiting(self) -> None:
        now = time.monotonic()
        for connection, deadline in list(self._waiting.items()):
            if now > deadline:
                connection.close()
                del self._waiting[connection]
