"""One opened line: a thread that reads it, and one request at a time with its reply."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lvmm.link.errors import LinkClosed, LinkError, LinkTimeout
from lvmm.link.frame import Frame, FrameReceiver
from lvmm.link.layout import REPLY_FLAG, Channel, Message, Status
from lvmm.link.stream import ByteStream
from lvmm.link.text import TextLines

_SLOW_REPLY = 5  # attempts' time that a reply may take as long as something arrives
_JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class Timing:
    """Seconds: of silence after which a request is sent again, and until it is given up."""

    retry: float = 1.0
    give_up: float = 20.0


@dataclass
class Statistics:
    """What happened on the line; sizes in bytes."""

    sent: int = 0
    received: int = 0
    retries: int = 0
    damaged: int = 0  # frames that arrived damaged
    lost: int = 0  # unasked frames that did not arrive


@dataclass(frozen=True)
class Listeners:
    """What is called, by the reading thread, for what comes unasked. They must not wait for the
    link themselves.
    """

    line: Callable[[str], None] = lambda _line: None  # text of the monitor, without line end
    status: Callable[[Status], None] = lambda _status: None


class Connection:
    """Owns the stream from the start on, and closes it."""

    def __init__(self, stream: ByteStream, listeners: Listeners, statistics: Statistics) -> None:
        self.statistics = statistics
        self._stream = stream
        self._listeners = listeners
        self._receiver = FrameReceiver()
        self._plain = TextLines()
        self._messages = TextLines()
        self._next_sequence: dict[int, int] = {}  # of unasked frames, by channel
        self._changed = threading.Condition()
        self._accept: Callable[[Frame], bool] | None = None
        self._reply: Frame | None = None
        self._heard = 0.0  # when the last bytes came
        self._failure: LinkError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="lvmm-link", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> LinkError | None:
        """Why this connection is of no more use."""
        return self._failure

    @property
    def is_listening(self) -> bool:
        """Whether a listener asks this: the thread that would have to read the reply."""
        return threading.current_thread() is self._thread

    def exchange(
        self,
        request: Frame,
        timing: Timing,
        accept: Callable[[bytes], bool] = lambda _payload: True,
        *,
        knock: Frame | None = None,
        attentive: bool = True,
    ) -> bytes:
        """Sends the request until its reply comes; returns the reply's payload.

        A reply whose payload `accept` does not like is none. `knock` is a request that goes first,
        until it is answered, each time that `request` is sent; the first time only unless the
        monitor is known to be `attentive`. Raises LinkTimeout or LinkClosed.
        """
        end = time.monotonic() + timing.give_up
        first = None if attentive else knock

        def is_reply(frame: Frame) -> bool:
            return _answers(frame, request) and accept(frame.payload)

        def is_reply_or_knocks(frame: Frame) -> bool:
            return is_reply(frame) or (knock is not None and _answers(frame, knock))

        try:
            while True:
                reply = self._ask(first, is_reply_or_knocks, timing, end) if first else None
                if first is None or (reply is not None and not is_reply(reply)):
                    reply = self._ask(request, is_reply, timing, end)
                if reply is not None:
                    return reply.payload
                if time.monotonic() >= end:
                    raise LinkTimeout(
                        f"the monitor did not answer within {timing.give_up:g} seconds: "
                        "is it running, and is this its line?"
                    )
                self.statistics.retries += 1
                first = knock
        finally:
            with self._changed:
                self._accept = None

    def _ask(
        self, frame: Frame, accept: Callable[[Frame], bool], timing: Timing, end: float
    ) -> Frame | None:
        """Sends a frame once; what came in reply."""
        with self._changed:
            self._reply = None
            self._accept = accept
        self._write(frame.encode())
        return self._wait(timing.retry, end)

    def close(self) -> None:
        """Stops the thread and closes the stream; a second call does nothing."""
        self._closing = True
        if not self.is_listening:
            self._thread.join(_JOIN_SECONDS)
        self._stream.close()

    def _write(self, data: bytes) -> None:
        with self._changed:
            if self._failure is not None:
                raise self._failure
        self._stream.write(data)
        self.statistics.sent += len(data)

    def _wait(self, seconds: float, end: float) -> Frame | None:
        """Waits for the reply until the line has been silent for so long, but not forever."""
        sent = time.monotonic()
        with self._changed:
            while self._reply is None:
                if self._failure is not None:
                    raise self._failure
                silent = max(sent, min(self._heard, sent + (_SLOW_REPLY - 1) * seconds))
                left = min(silent + seconds, end) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._reply

    def _run(self) -> None:
        failure: LinkError = LinkClosed("the line to the monitor was closed")
        try:
            while not self._closing:
                data = self._stream.read()
                if data:
                    self._take(data)
        except LinkError as error:
            failure = error
        except Exception as error:  # a listener's; whoever waits must learn of it
            failure = LinkError(f"cannot handle what the monitor said: {error!r}")
        try:
            for line in self._plain.rest():
                self._listeners.line(line)
        finally:
            with self._changed:
                self._failure = failure
                self._changed.notify_all()

    def _take(self, data: bytes) -> None:
        self.statistics.received += len(data)
        damaged = self._receiver.damaged
        for part in self._receiver.feed(data):
            if isinstance(part, Frame):
                self._dispatch(part)
            else:
                for line in self._plain.feed(part):
                    self._listeners.line(line)
        self.statistics.damaged += self._receiver.damaged - damaged
        with self._changed:
            self._heard = time.monotonic()
            self._changed.notify_all()

    def _dispatch(self, frame: Frame) -> None:
        if frame.channel == Channel.MESSAGE:
            head, text = frame.payload[: Message.STRUCT.size], frame.payload[Message.STRUCT.size :]
            continues = head != bytes(len(head))
            if self._missed(frame) or continues != self._messages.in_line:
                self._messages.cut(in_line=continues)
            for line in self._messages.feed(text):
                self._listeners.line(line)
        elif frame.channel == Channel.NOTIFY:
            self._missed(frame)
            if len(frame.payload) == Status.STRUCT.size:
                self._listeners.status(Status.unpack(frame.payload))
        else:
            with self._changed:
                if self._reply is None and self._accept is not None and self._accept(frame):
                    self._reply = frame
                    self._changed.notify_all()

    def _missed(self, frame: Frame) -> bool:
        """Counts the unasked frames that were lost before this one."""
        expected = self._next_sequence.get(frame.channel, frame.sequence)
        self._next_sequence[frame.channel] = (frame.sequence + 1) & 0xFF
        missed = (frame.sequence - expected) & 0xFF
        self.statistics.lost += missed
        return missed != 0


def _answers(reply: Frame, request: Frame) -> bool:
    return reply.channel == request.channel | REPLY_FLAG and reply.sequence == request.sequence
