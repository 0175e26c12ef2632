"""The packets of the remote serial protocol and what they do (gdb manual, E.2 Packets).

A handler gets what follows the packet's name and returns the reply; None means that the reply
comes when the guest stops, or not at all. The empty reply means that there is no such packet.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lvmm.gdb import queries
from lvmm.gdb.fields import BadPacket, address_and_length, check_thread, hex_bytes, number
from lvmm.gdb.packet import PACKET_SIZE, compress, escape, unescape
from lvmm.gdb.registers import Register
from lvmm.gdb.session import EINVAL, Session
from lvmm.gdb.stop_reply import hexed, stop_reply
from lvmm.gdb.target import BreakpointKind, MemoryFault, TargetError

Handler = Callable[[Session, bytes], bytes | None]

_OK = b"OK"
_VCONT = b"vCont;c;C;s;S;r"


def handle(session: Session, data: bytes) -> bytes | None:
    """The reply to one packet. Raises nothing, whatever the packet has."""
    name, handler = _find(data)
    if handler is None:
        return b""
    reads_memory = name in (b"m", b"x")
    try:
        return handler(session, data[len(name) :])
    except BadPacket as error:
        return session.error(EINVAL, str(error), numeric=reads_memory)
    except TargetError as error:
        return session.failure(error, numeric=reads_memory)


def _find(data: bytes) -> tuple[bytes, Handler | None]:
    if data[:1] in (b"q", b"Q", b"v"):
        match = re.match(rb"[A-Za-z]+\??", data)
        name = match[0] if match else b""
        return name, _LONG.get(name) or queries.HANDLERS.get(name)
    return data[:1], _SHORT.get(data[:1])


def _why(session: Session, _arguments: bytes) -> bytes:
    machine = session.machine
    stop = machine.attach()
    return stop_reply(stop, machine, session.description, session.features, first=True)


def _read_registers(session: Session, _arguments: bytes) -> bytes:
    session.machine.attach()
    text = "".join(hexed(session.machine, register) for register in session.description.general)
    return compress(text.encode())


def _write_registers(session: Session, arguments: bytes) -> bytes:
    session.machine.attach()
    data = hex_bytes(arguments)
    values: list[tuple[Register, int]] = []
    at = 0
    for register in session.description.registers:
        if at == len(data):
            break
        part = data[at : at + register.size]
        if len(part) < register.size:
            raise BadPacket("the registers end within one")
        values.append((register, int.from_bytes(part, "little")))
        at += register.size
    if at < len(data) or not data:
        raise BadPacket("these are not the registers")
    for register, value in values:
        if session.machine.read(register) != value:
            session.machine.write(register, value)
    return _OK


def _register(session: Session, text: bytes) -> Register:
    index = number(text)
    registers = session.description.registers
    if index >= len(registers):
        raise BadPacket("there is no such register")
    return registers[index]


def _read_register(session: Session, arguments: bytes) -> bytes:
    session.machine.attach()
    return hexed(session.machine, _register(session, arguments)).encode()


def _write_register(session: Session, arguments: bytes) -> bytes:
    session.machine.attach()
    index, equals, value = arguments.partition(b"=")
    register = _register(session, index)
    data = hex_bytes(value)
    if not equals or len(data) != register.size:
        raise BadPacket("the value has not the register's size")
    session.machine.write(register, int.from_bytes(data, "little"))
    return _OK


def _read_memory_hex(session: Session, arguments: bytes) -> bytes:
    data = _read_memory(session, arguments, longest=PACKET_SIZE // 2)
    return compress(data.hex().encode())


def _read_memory_binary(session: Session, arguments: bytes) -> bytes:
    # Each byte may need an escape.
    return b"b" + escape(_read_memory(session, arguments, longest=(PACKET_SIZE - 1) // 2))


def _read_memory(session: Session, arguments: bytes, *, longest: int) -> bytes:
    """The bytes, or those before the first that cannot be read."""
    machine = session.machine
    machine.attach()
    address, length = address_and_length(arguments)
    length = min(length, longest, (1 << 64) - address)
    if not length:
        return b""
    try:
        return machine.target.read_memory(address, length, physical=machine.physical)
    except MemoryFault as error:
        if not error.done:
            raise
        return error.done


def _write_memory_hex(session: Session, arguments: bytes) -> bytes:
    where, colon, text = arguments.partition(b":")
    return _write_memory(session, where, colon, hex_bytes(text))


def _write_memory_binary(session: Session, arguments: bytes) -> bytes:
    where, colon, text = arguments.partition(b":")
    try:
        data = unescape(text)
    except ValueError as error:
        raise BadPacket(str(error)) from None
    return _write_memory(session, where, colon, data)


def _write_memory(session: Session, where: bytes, colon: bytes, data: bytes) -> bytes:
    machine = session.machine
    address, length = address_and_length(where)
    if not colon or length != len(data):
        raise BadPacket("the data has not the length that was announced")
    if address + length > 1 << 64:
        raise BadPacket("the data goes beyond the last address")
    if data:
        machine.attach()
        machine.target.write_memory(address, data, physical=machine.physical)
        machine.forget()
    return _OK


def _set_breakpoint(session: Session, arguments: bytes) -> bytes:
    breakpoint_ = _breakpoint(arguments)
    if breakpoint_ is None:
        return b""
    session.machine.attach()
    session.machine.set_breakpoint(breakpoint_)
    return _OK


def _clear_breakpoint(session: Session, arguments: bytes) -> bytes:
    breakpoint_ = _breakpoint(arguments)
    if breakpoint_ is None:
        return b""
    session.machine.attach()
    session.machine.clear_breakpoint(breakpoint_)
    return _OK


def _breakpoint(arguments: bytes) -> tuple[BreakpointKind, int, int] | None:
    """TYPE,ADDR,KIND; None for a type that there is not."""
    kind_text, _, rest = arguments.partition(b",")
    kind = number(kind_text)
    address, length = address_and_length(rest)
    if kind > max(BreakpointKind):
        return None
    if kind in (BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE):
        length = 1  # on x86 it is always at one byte
    if not 0 < length < 1 << 32 or address + length > 1 << 64:
        raise BadPacket("a watched range has 1 byte to 4 GiB less 1, below the last address")
    return BreakpointKind(kind), address, length


def _run(step: bool, *, signal: bool) -> Handler:
    """`c`, `s`, `C`, `S`, with an optional address to go on from. A machine takes no signals."""

    def handler(session: Session, arguments: bytes) -> None:
        if signal:
            sent, semicolon, address = arguments.partition(b";")
            number(sent, 8)
            if semicolon and not address:
                raise BadPacket("an address is missing")
        else:
            address = arguments
        session.machine.attach()
        if address:
            session.machine.write(session.description.program_counter, number(address))
        session.machine.run(step=step)

    return handler


def _reverse(session: Session, arguments: bytes) -> bytes | None:
    """`bs`, `bc`: a step back, and back to the last breakpoint or watchpoint."""
    if arguments not in (b"s", b"c") or not session.machine.target.can_reverse:
        return b""
    session.machine.attach()
    session.progress.restart()
    session.machine.reverse(step=arguments == b"s")
    return None


def _vcont_actions(_session: Session, _arguments: bytes) -> bytes:
    return _VCONT


def _vcont(session: Session, arguments: bytes) -> None:
    """The leftmost action that is for the one thread, which every action must be."""
    actions = arguments.split(b";")
    if actions[0] or not actions[1:]:
        raise BadPacket("an action is missing")
    parsed = [_action(action) for action in actions[1:]]
    step, within = parsed[0]
    session.machine.attach()
    session.machine.run(step=step, within=within)


def _action(action: bytes) -> tuple[bool, range | None]:
    """Whether it is a step, and the range to step through. Signals are not for a machine."""
    word, colon, thread = action.partition(b":")
    if colon:
        check_thread(thread)
    if word[:1] == b"r":
        start, comma, end = word[1:].partition(b",")
        if not comma:
            raise BadPacket("a range has two addresses")
        return True, range(number(start), number(end))
    if not re.fullmatch(rb"[cs]|[CS][0-9a-fA-F]{2}", word):
        raise BadPacket("there is no such action")
    return word[:1] in b"sS", None


def _thread_alive(_session: Session, arguments: bytes) -> bytes:
    check_thread(arguments)
    return _OK


def _set_thread(_session: Session, arguments: bytes) -> bytes:
    if arguments[:1] not in (b"g", b"c"):
        raise BadPacket("there is no such set of operations")
    check_thread(arguments[1:])
    return _OK


def _detach(session: Session, _arguments: bytes) -> bytes:
    session.ended = True
    session.machine.detach()
    return _OK


def _kill(session: Session, _arguments: bytes) -> None:
    """Does not kill the machine: the guest goes on without a debugger. Has no reply."""
    session.ended = True
    session.machine.detach()


_SHORT: dict[bytes, Handler] = {
    b"?": _why,
    b"g": _read_registers,
    b"G": _write_registers,
    b"p": _read_register,
    b"P": _write_register,
    b"m": _read_memory_hex,
    b"M": _write_memory_hex,
    b"x": _read_memory_binary,
    b"X": _write_memory_binary,
    b"Z": _set_breakpoint,
    b"z": _clear_breakpoint,
    b"c": _run(step=False, signal=False),
    b"s": _run(step=True, signal=False),
    b"C": _run(step=False, signal=True),
    b"S": _run(step=True, signal=True),
    b"b": _reverse,
    b"H": _set_thread,
    b"T": _thread_alive,
    b"D": _detach,
    b"k": _kill,
}
_LONG: dict[bytes, Handler] = {
    b"vCont?": _vcont_actions,
    b"vCont": _vcont,
    b"vKill": _detach,
}
