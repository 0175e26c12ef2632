"""The packets `q` and `Q`: general queries (gdb manual, E.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

from lvmm.gdb.fields import BadPacket, address_and_length, check_thread, hex_bytes, number
from lvmm.gdb.memory_map import memory_map_xml, region_info
from lvmm.gdb.monitor_commands import run_monitor_command
from lvmm.gdb.packet import PACKET_SIZE, escape
from lvmm.gdb.session import Session
from lvmm.gdb.target_xml import target_xml

_FEATURES = (
    f"PacketSize={PACKET_SIZE:x}",
    "QStartNoAckMode+",
    "qXfer:features:read+",
    "qXfer:memory-map:read+",
    "swbreak+",
    "hwbreak+",
    "vContSupported+",
    "binary-upload+",
    "error-message+",
)
_REVERSE = ("ReverseStep+", "ReverseContinue+")
_TRIPLE = b"x86_64-unknown-unknown".hex()

# gdb gives up an answer that does not come for two seconds.
SIGN_OF_LIFE_S = 1.0


def _supported(session: Session, arguments: bytes) -> bytes:
    announced = arguments.lstrip(b":").decode("ascii", "replace").split(";")
    session.features = frozenset(name[:-1] for name in announced if name.endswith("+"))
    reverse = _REVERSE if session.machine.target.can_reverse else ()
    return ";".join((*_FEATURES, *reverse)).encode()


def _start_no_ack_mode(session: Session, _arguments: bytes) -> bytes:
    session.no_ack = True
    return b"OK"


def _attached(_session: Session, _arguments: bytes) -> bytes:
    """The guest was there before: gdb leaves it running when it quits."""
    return b"1"


def _current_thread(_session: Session, _arguments: bytes) -> bytes:
    return b"QC1"


def _first_threads(_session: Session, _arguments: bytes) -> bytes:
    return b"m1"


def _more_threads(_session: Session, _arguments: bytes) -> bytes:
    return b"l"


def _thread_extra_info(_session: Session, arguments: bytes) -> bytes:
    check_thread(arguments.removeprefix(b","))
    return b"CPU 0".hex().encode()


def _symbol(_session: Session, _arguments: bytes) -> bytes:
    """The client offers to look up symbols; none are needed."""
    return b"OK"


def _host_info(_session: Session, _arguments: bytes) -> bytes:
    """LLDB's question."""
    return f"triple:{_TRIPLE};ptrsize:8;endian:little;vm-page-size:4096;".encode()


def _process_info(_session: Session, _arguments: bytes) -> bytes:
    """LLDB's question."""
    return f"pid:1;triple:{_TRIPLE};ptrsize:8;endian:little;".encode()


def _transfer(session: Session, arguments: bytes) -> bytes:
    """qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH."""
    match arguments.split(b":"):
        case [b"", b"features", b"read", b"target.xml", window]:
            return _part(target_xml(session.description), window)
        case [b"", b"memory-map", b"read", b"", window]:
            offset, _ = address_and_length(window)
            if not offset or not session.memory_map:
                session.memory_map = memory_map_xml(session.machine.linear_map())
            return _part(session.memory_map, window)
        case [b"", b"features" | b"memory-map", b"read", _, _]:
            raise BadPacket("there is no such annex")
        case _:
            return b""


def _region_info(session: Session, arguments: bytes) -> bytes:
    """LLDB's question, with an address."""
    address = number(arguments.removeprefix(b":"))
    return region_info(session.machine.linear_map(), address).encode()


def _part(document: bytes, window: bytes) -> bytes:
    """`m` and a part of the document, or `l` and its last part."""
    offset, length = address_and_length(window)
    length = min(length, (PACKET_SIZE - 1) // 2)  # each byte may need an escape
    last = offset + length >= len(document)
    return (b"l" if last else b"m") + escape(document[offset : offset + length])


def _monitor(session: Session, arguments: bytes) -> bytes:
    """qRcmd,COMMAND in hexadecimal: the answer is shown, so even an error ends with OK."""
    line = hex_bytes(arguments.removeprefix(b",")).decode("utf-8", "replace")
    with ThreadPoolExecutor(1) as worker:
        text = worker.submit(run_monitor_command, session.machine, line)
        session.progress.restart()
        while not wait([text], SIGN_OF_LIFE_S).done:
            session.show(session.progress.line() or ".")
    session.show(text.result())
    return b"OK"


HANDLERS: Mapping[bytes, Callable[[Session, bytes], bytes]] = {
    b"qSupported": _supported,
    b"QStartNoAckMode": _start_no_ack_mode,
    b"qAttached": _attached,
    b"qC": _current_thread,
    b"qfThreadInfo": _first_threads,
    b"qsThreadInfo": _more_threads,
    b"qThreadExtraInfo": _thread_extra_info,
    b"qSymbol": _symbol,
    b"qHostInfo": _host_info,
    b"qProcessInfo": _process_info,
    b"qMemoryRegionInfo": _region_info,
    b"qXfer": _transfer,
    b"qRcmd": _monitor,
}
