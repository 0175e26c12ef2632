"""Sessions of the debug link: replies that belong to none, or to an older one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.host.link_machine import (
    MEMORY_BASE,
    TIMING,
    Fault,
    FaultyLine,
    Lines,
    LinkMachine,
)

from lvmm.link import LinkClient, LinkError, LinkTimeout, Timing
from lvmm.link.connection import Listeners
from lvmm.link.frame import Frame, decode
from lvmm.link.layout import (
    LAYOUT_DIGEST,
    MAGIC,
    PROTOCOL_VERSION,
    REPLY_FLAG,
    HelloReply,
    Opcode,
    Result,
    Status,
)
from lvmm.link.session import LinkSession

pytestmark = pytest.mark.host

STALE_HELLO = bytes((Result.OK,)) + HelloReply(
    MAGIC, PROTOCOL_VERSION, LAYOUT_DIGEST, 1, 0, 0, tuple(b"stale".ljust(32)), (0,) * 32
).pack()  # fmt: skip
STALE_STATUS = bytes((Result.OK,)) + Status(0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0).pack()


@pytest.fixture
def machine() -> Iterator[LinkMachine]:
    with LinkMachine() as running:
        yield running


class Interposed(FaultyLine):
    """A line on which something else arrives in place of the first replies to an opcode."""

    def __init__(
        self, machine: LinkMachine, opcode: Opcode, instead: list[Callable[[Frame], bytes]]
    ) -> None:
        super().__init__(machine, iter(()), busy=False)
        self._opcode = opcode
        self._instead = instead

    def write(self, data: bytes) -> None:
        frame = decode(data[1:-1])
        if self._instead and frame is not None and frame.payload[:1] == bytes((self._opcode,)):
            self._machine.line(data)
            self.put(self._instead.pop(0)(frame))
        else:
            super().write(data)


def reply(payload: bytes, *, sequence: int = 0, channel: int = 0) -> Callable[[Frame], bytes]:
    """A reply with that payload; its sequence number and channel are so far from the right ones."""
    return lambda request: Frame(
        (request.channel | REPLY_FLAG) + channel, (request.sequence + sequence) & 0xFF, payload
    ).encode()


def test_an_old_hellos_reply_is_not_taken_for_the_new_ones(machine: LinkMachine) -> None:
    line = Interposed(machine, Opcode.HELLO, [reply(STALE_HELLO), reply(b""), reply(b"\0")])
    with LinkClient(lambda: line, timing=TIMING) as link:
        assert link.connect().board == "host"


@pytest.mark.parametrize(
    "instead", [{"sequence": 1}, {"sequence": 255}, {"channel": 1}, {"channel": -REPLY_FLAG}]
)
def test_what_answers_something_else_is_no_reply(
    machine: LinkMachine, instead: dict[str, int]
) -> None:
    line = Interposed(machine, Opcode.STEP, [reply(STALE_STATUS, **instead)])
    with LinkClient(lambda: line, timing=TIMING) as link:
        assert link.step().stop_count == 1
        assert link.statistics.retries >= 1
    assert machine.counts().steps == 1


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "an empty reply"),
        (b"\0", "a wrong length"),
        (STALE_STATUS + b"x", "a wrong length"),
        (b"\x63", "did not step: result 99"),
        (b"\x02because\n of \xff\n", "did not step: because of \ufffd$"),
    ],
)
def test_a_malformed_reply_is_a_clear_error(
    machine: LinkMachine, payload: bytes, text: str
) -> None:
    line = Interposed(machine, Opcode.STEP, [reply(payload)])
    with LinkClient(lambda: line, timing=TIMING) as link:
        with pytest.raises(LinkError, match=text):
            link.step()
        assert link.status().stop_count == 1


def test_after_a_timeout_a_new_session_starts_by_itself(machine: LinkMachine) -> None:
    dead: list[Fault] = []
    lines = Lines(machine, iter(lambda: dead[0] if dead else Fault("none"), None))
    session = LinkSession(lines, Listeners(), TIMING)
    session.connect()
    dead.append(Fault("truncate"))
    session.timing = Timing(0.03, 0.1)
    with pytest.raises(LinkTimeout):
        session.request(Opcode.STEP, b"", b"")
    dead.clear()
    session.timing = TIMING
    assert machine.counts().steps == 0
    session.request(Opcode.STEP, b"", b"")
    session.close()
    assert machine.counts().steps == 1


def test_a_monitor_that_does_not_listen_after_all_is_knocked_for(machine: LinkMachine) -> None:
    lines = Lines(machine, busy=True)
    with LinkClient(lines, timing=TIMING) as link:
        link.connect()  # the guest is stopped, so the monitor should have nothing else to do
        lines.opened[-1]._looks = 0
        link.write_memory(MEMORY_BASE, b"x" * 3000)
    assert machine.counts().writes == 1
