"""The line of a run's monitor, on a TCP port: for `lvmm attach`, as often as wanted."""

from __future__ import annotations

import contextlib
import queue
import select
import threading
from collections.abc import Callable

from lvmm.errors import LvmmError
from lvmm.link import LinkClient, SocketStream, Status
from lvmm.link.errors import LinkClosed
from lvmm.link.frame import Frame, FrameReceiver
from lvmm.link.layout import DATA_MAX, Channel, Message
from lvmm.link.relay import Relay, Typewriter
from lvmm.listener import Listener

_TURN_S = 0.2
_JOIN_S = 30.0  # a request that is under way
_OUTBOX = 256  # frames; what comes unasked is dropped when a tool takes nothing


class SharedLine:
    """Tools are answered from start() on. Raises EnvironmentProblem when the port cannot be had."""

    def __init__(
        self,
        link: LinkClient,
        port: int,
        typewriter: Typewriter,
        say: Callable[[str], None],
    ) -> None:
        self._link = link
        self._typewriter = typewriter
        self._say = say
        self._listener = Listener(port, "for attach", "--attach PORT")
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._tools: list[_Tool] = []

    @property
    def port(self) -> int:
        """The port that tools connect to."""
        return self._listener.port

    @property
    def attached(self) -> bool:
        """Whether any tool is connected."""
        with self._lock:
            return bool(self._tools)

    def start(self) -> None:
        """Opens the port; the first call tells the user so."""
        if self._thread is None:
            self._listener.open()
            self._say(f"attach: ./lvmm attach --serial :{self.port}")
            self._thread = threading.Thread(target=self._serve, name="lvmm-attach", daemon=True)
            self._thread.start()

    def line(self, text: str) -> None:
        """The monitor has said a line: the tools get it too."""
        data = text.encode() + b"\n"
        for at in range(0, len(data), DATA_MAX):
            head = Message(1 if at else 0).pack()
            self._tell(Channel.MESSAGE, head + data[at : at + DATA_MAX])

    def status(self, status: Status) -> None:
        """The monitor has told its status."""
        self._tell(Channel.NOTIFY, status.pack())

    def close(self) -> None:
        """Hangs up. A second call does nothing."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._listener.close()
        with self._lock:
            tools = list(self._tools)
        for tool in tools:
            tool.close()

    def _tell(self, channel: Channel, payload: bytes) -> None:
        with self._lock:
            for tool in self._tools:
                tool.tell(channel, payload)

    def _serve(self) -> None:
        while not self._closing.is_set():
            if not select.select([self._listener.socket], [], [], _TURN_S)[0]:
                continue
            with contextlib.suppress(OSError):
                stream = SocketStream(self._listener.socket.accept()[0])
                tool = _Tool(stream, Relay(self._link, self._typewriter), self._forget)
                with self._lock:
                    self._tools.append(tool)
                tool.start()

    def _forget(self, tool: _Tool) -> None:
        with self._lock:
            self._tools.remove(tool)


class _Tool:
    """One connection: a thread that answers, and one that sends."""

    def __init__(self, stream: SocketStream, relay: Relay, gone: Callable[[_Tool], None]) -> None:
        self._stream = stream
        self._relay = relay
        self._gone = gone
        self._outbox: queue.Queue[Frame | None] = queue.Queue(_OUTBOX)
        self._sequence = dict.fromkeys((Channel.MESSAGE, Channel.NOTIFY), 0)
        self._closing = False
        self._reader = threading.Thread(target=self._answer, name="lvmm-tool", daemon=True)
        self._writer = threading.Thread(target=self._send, name="lvmm-tool-out", daemon=True)

    def start(self) -> None:
        self._writer.start()
        self._reader.start()

    def tell(self, channel: Channel, payload: bytes) -> None:
        """Sends something unasked; a loss shows in the sequence."""
        if self._relay.in_session:
            sequence = self._sequence[channel]
            self._sequence[channel] = (sequence + 1) & 0xFF
            with contextlib.suppress(queue.Full):
                self._outbox.put_nowait(Frame(channel, sequence, payload))

    def close(self) -> None:
        self._closing = True
        self._reader.join(_JOIN_S)

    def _answer(self) -> None:
        receiver = FrameReceiver()
        try:
            while not self._closing:
                for part in receiver.feed(self._stream.read()):
                    reply = self._relay.answer(part) if isinstance(part, Frame) else None
                    if reply is not None:
                        self._outbox.put(reply)
        except LvmmError:
            pass  # the tool is gone, or the monitor: to hang up says so
        finally:
            self._gone(self)
            self._outbox.put(None)
            self._writer.join(_JOIN_S)
            self._stream.close()

    def _send(self) -> None:
        """Takes what is sent until the end, even when the tool is gone: nobody waits for room."""
        lost = False
        while (frame := self._outbox.get()) is not None:
            try:
                if not lost:
                    self._stream.write(frame.encode())
            except LinkClosed:
                lost = True
