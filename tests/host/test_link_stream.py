"""The streams that a debug link runs over."""

from __future__ import annotations

import os
import pty
import socket
import threading
import tty
import types
from collections.abc import Iterator

import pytest
import serial.rfc2217
from tests.host.link_machine import MEMORY_BASE, TIMING, LinkMachine

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.link import LinkClient, LinkClosed, SocketStream, Timing, open_stream

pytestmark = pytest.mark.host


@pytest.fixture
def machine() -> Iterator[LinkMachine]:
    with LinkMachine() as running:
        yield running


def test_over_a_socket(machine: LinkMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                while data := accepted.recv(100):
                    accepted.sendall(machine.line(data))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with LinkClient(lambda: open_stream(f"socket://{address}"), timing=Timing(5, 60)) as link:
            data = bytes(range(256)) * 16
            link.write_memory(MEMORY_BASE, data)
            assert link.read_memory(MEMORY_BASE, 4096) == data
        thread.join()


def test_a_socket_that_is_closed_by_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with LinkClient(lambda: SocketStream(ours), timing=TIMING) as link:
        threading.Timer(0.05, theirs.close).start()
        with pytest.raises(LinkClosed):
            link.status()


class Port(types.SimpleNamespace):
    """A serial port as far as pyserial's RFC 2217 server cares."""

    def __init__(self) -> None:
        super().__init__(baudrate=9600, bytesize=8, parity="N", stopbits=1)
        super().__init__(xonxoff=False, rtscts=False, dtr=True, rts=True, break_condition=False)
        super().__init__(cts=True, dsr=True, ri=False, cd=True)

    def reset_input_buffer(self) -> None:
        pass

    def reset_output_buffer(self) -> None:
        pass


def test_over_a_terminal_server(machine: LinkMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                manager = serial.rfc2217.PortManager(
                    Port(), types.SimpleNamespace(write=accepted.sendall)
                )
                while data := accepted.recv(100):
                    answer = machine.line(b"".join(manager.filter(data)))
                    accepted.sendall(b"".join(manager.escape(answer)))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"rfc2217://127.0.0.1:{server.getsockname()[1]}"
        with LinkClient(lambda: open_stream(address), timing=Timing(5, 60)) as link:
            data = bytes(range(256)) * 16
            link.write_memory(MEMORY_BASE, data)
            assert link.read_memory(MEMORY_BASE, 4096) == data
        thread.join()


@pytest.mark.parametrize(
    ("address", "error", "text"),
    [
        ("nonsense", UsageError, "is no serial line"),
        ("http://localhost:1", UsageError, "is no serial line"),
        ("localhost:99999", UsageError, "a TCP port is from 1 to 65535"),
        ("/dev/no-such-line", EnvironmentProblem, "cannot open the serial line"),
        ("rfc2217://localhost:x", EnvironmentProblem, "cannot open the serial line"),
    ],
)
def test_addresses_that_are_none(address: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        open_stream(address)
    assert len(str(caught.value).splitlines()) == 1


def test_over_a_serial_device(machine: LinkMachine) -> None:
    monitors, tools = pty.openpty()
    tty.setraw(tools)

    def serve() -> None:
        while data := os.read(monitors, 100):
            if data == b"end":
                break
            os.write(monitors, machine.line(data))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with LinkClient(lambda: open_stream(os.ttyname(tools)), timing=Timing(5, 60)) as link:
        data = bytes(range(256)) * 16
        link.write_memory(MEMORY_BASE, data)
        assert link.read_memory(MEMORY_BASE, 4096) == data
    os.write(tools, b"end")
    thread.join()
    os.close(monitors)
    os.close(tools)
