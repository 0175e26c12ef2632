"""What the monitor's end of the debug link makes of single frames."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.host.link_machine import MEMORY_BASE, LinkMachine

from lvmm.link.frame import Frame, FrameReceiver
from lvmm.link.layout import (
    DATA_MAX,
    LAYOUT_DIGEST,
    MAGIC,
    PAYLOAD_MAX,
    PROTOCOL_VERSION,
    REPLY_FLAG,
    Channel,
    HelloReply,
    HelloRequest,
    MemorySpace,
    Opcode,
    Result,
    SetBreakpointReply,
    SetBreakpointRequest,
    WriteFlag,
    WriteMemoryRequest,
)

pytestmark = pytest.mark.host

STEP = bytes((Opcode.STEP,))
WRITE = bytes((Opcode.WRITE_MEMORY,)) + WriteMemoryRequest(
    MemorySpace.PHYSICAL, WriteFlag.FORCE, MEMORY_BASE
).pack()  # fmt: skip


@pytest.fixture
def machine() -> Iterator[LinkMachine]:
    with LinkMachine() as running:
        yield running


def replies(machine: LinkMachine, sequence: int, payload: bytes, channel: int) -> list[bytes]:
    """Sends a frame; the payloads of the frames that come back, whose heads are checked."""
    answer = []
    for part in FrameReceiver().feed(machine.line(Frame(channel, sequence, payload).encode())):
        assert isinstance(part, Frame)
        assert (part.channel, part.sequence) == (channel | REPLY_FLAG, sequence)
        answer.append(part.payload)
    return answer


def ask(
    machine: LinkMachine, sequence: int, payload: bytes, channel: int = Channel.CONTROL
) -> bytes:
    """Sends a request; the payload of its one reply."""
    (reply,) = replies(machine, sequence, payload, channel)
    return reply


def hello(
    nonce: int, magic: int = MAGIC, version: int = PROTOCOL_VERSION, layout: int = LAYOUT_DIGEST
) -> bytes:
    return bytes((Opcode.HELLO,)) + HelloRequest(magic, version, layout, nonce).pack()


def test_nothing_is_carried_out_without_a_session(machine: LinkMachine) -> None:
    for sequence in (0, 1, 2, 255):
        assert ask(machine, sequence, STEP) == bytes((Result.NO_SESSION,))
    assert machine.counts().steps == 0


def test_hello(machine: LinkMachine) -> None:
    reply = ask(machine, 0, hello(7))
    assert reply[0] == Result.OK
    said = HelloReply.unpack(reply, 1)
    assert (said.magic, said.version, said.layout, said.nonce) == (
        MAGIC, PROTOCOL_VERSION, LAYOUT_DIGEST, 7,
    )  # fmt: skip
    assert ask(machine, 1, STEP)[0] == Result.OK


@pytest.mark.parametrize(
    ("payload", "result"),
    [
        (hello(7, version=PROTOCOL_VERSION + 1) + b"more of a later version", Result.REFUSED),
        (hello(7, layout=LAYOUT_DIGEST ^ 1), Result.REFUSED),
        (hello(7, magic=MAGIC ^ 1), Result.BAD_REQUEST),
        (hello(7)[:-1], Result.BAD_REQUEST),
        (hello(7)[:1], Result.BAD_REQUEST),
    ],
)
def test_a_hello_that_does_not_match_starts_nothing(
    machine: LinkMachine, payload: bytes, result: Result
) -> None:
    reply = ask(machine, 0, payload)
    assert reply[0] == result
    if result is Result.REFUSED:
        said = HelloRequest.unpack(reply, 1)
        assert said == HelloRequest(MAGIC, PROTOCOL_VERSION, LAYOUT_DIGEST, 7)
    assert ask(machine, 1, STEP) == bytes((Result.NO_SESSION,))
    assert machine.counts().steps == 0


def test_a_repeated_hello_does_not_start_the_session_again(machine: LinkMachine) -> None:
    first = ask(machine, 0, hello(7))
    stepped = ask(machine, 1, STEP)
    assert ask(machine, 0, hello(7)) == first
    assert ask(machine, 1, STEP) == stepped
    assert ask(machine, 2, STEP) != stepped
    assert machine.counts().steps == 2
    assert ask(machine, 0, hello(8)) != first
    assert ask(machine, 3, STEP) == bytes((Result.NO_SESSION,))
    assert ask(machine, 1, STEP)[0] == Result.OK


def test_an_old_reply_is_not_for_a_new_session(machine: LinkMachine) -> None:
    ask(machine, 0, hello(7))
    ask(machine, 1, STEP)
    ask(machine, 0, hello(8))
    ask(machine, 1, STEP)
    assert machine.counts().steps == 2


def test_sequence_numbers_go_round(machine: LinkMachine) -> None:
    ask(machine, 0, hello(7))
    for number in range(1, 600):
        reply = ask(machine, number & 0xFF, STEP)
        assert reply[0] == Result.OK
        assert ask(machine, number & 0xFF, STEP) == reply
        assert ask(machine, (number + 2) & 0xFF, STEP) == bytes((Result.NO_SESSION,))
        assert ask(machine, (number - 1) & 0xFF, STEP) == bytes((Result.NO_SESSION,))
    assert machine.counts().steps == 599


def test_the_same_number_with_another_request_is_no_repetition(machine: LinkMachine) -> None:
    ask(machine, 0, hello(7))
    ask(machine, 1, STEP)
    assert ask(machine, 1, bytes((Opcode.STATUS,))) == bytes((Result.NO_SESSION,))


@pytest.mark.parametrize(
    ("payload", "channel", "result"),
    [
        (b"", Channel.CONTROL, Result.BAD_REQUEST),
        (STEP + b"x", Channel.CONTROL, Result.BAD_REQUEST),
        (STEP, Channel.MEMORY, Result.BAD_REQUEST),
        (WRITE[:-1], Channel.MEMORY, Result.BAD_REQUEST),
        (WRITE, Channel.CONTROL, Result.BAD_REQUEST),
        (WRITE + bytes(DATA_MAX), Channel.MEMORY, Result.OK),
        (WRITE + bytes(DATA_MAX + 1), Channel.MEMORY, Result.BAD_REQUEST),
        (b"\0", Channel.CONTROL, Result.UNSUPPORTED),
        (b"\xc8", Channel.CONTROL, Result.UNSUPPORTED),
        (bytes((Opcode.STOP_RUN,)), Channel.CONTROL, Result.UNSUPPORTED),
    ],
)
def test_malformed_requests_are_answered_once(
    machine: LinkMachine, payload: bytes, channel: Channel, result: Result
) -> None:
    ask(machine, 0, hello(7))
    reply = ask(machine, 1, payload, channel)
    assert reply[0] == result
    assert ask(machine, 1, payload, channel) == reply
    assert ask(machine, 2, STEP)[0] == Result.OK
    counts = machine.counts()
    assert (counts.steps, counts.writes) == (1, int(result is Result.OK))


@pytest.mark.parametrize("channel", [0, Channel.MESSAGE, Channel.NOTIFY, 7, REPLY_FLAG + 1, 255])
def test_what_is_no_request_gets_no_reply(machine: LinkMachine, channel: int) -> None:
    ask(machine, 0, hello(7))
    assert machine.line(Frame(channel, 1, STEP).encode()) == b""
    assert machine.counts().steps == 0


def test_an_echo_of_everything_dies_out(machine: LinkMachine) -> None:
    ask(machine, 0, hello(7))
    said = machine.line(Frame(Channel.CONTROL, 1, STEP).encode()) + machine.stop()
    said += machine.message(b"a line\n")
    assert machine.line(said) == b""


def test_fields_of_a_reply_start_as_zeros(machine: LinkMachine) -> None:
    ask(machine, 0, hello(7))
    ask(machine, 1, b"\x10" + WRITE[1:2] + MEMORY_BASE.to_bytes(8, "little") + b"\0\x10", 4)
    written = ask(machine, 2, WRITE + b"\xff" * DATA_MAX, Channel.MEMORY)
    assert int.from_bytes(written[1:], "little") == DATA_MAX
    ask(machine, 3, b"\x10" + WRITE[1:2] + MEMORY_BASE.to_bytes(8, "little") + b"\0\x10", 4)
    registers = ask(machine, 4, bytes((Opcode.READ_REGISTERS,)))
    assert registers == bytes(len(registers))


def test_a_text_that_is_too_long_is_cut(machine: LinkMachine) -> None:
    ask(machine, 0, hello(7))
    request = SetBreakpointRequest(kind=200, length=1, address=0)
    reply = ask(machine, 1, bytes((Opcode.SET_BREAKPOINT,)) + request.pack())
    room = PAYLOAD_MAX - 1 - SetBreakpointReply.STRUCT.size
    assert reply == bytes((Result.BAD_REQUEST,)) + b"x" * room
