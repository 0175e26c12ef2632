"""A TCP server at the other end of the emulated cable: this computer's own kernel speaks TCP.

    python3 -m lvmm.bench.tcp_peer PORT

runs in a network namespace of its own, with a TAP device that carries the frames of the emulated
card on UDP port PORT (see lvmm.cable_end); it says at which port it takes the guest's. Nothing
outside of the namespace is touched, and no privilege is needed where the system lets its users have
namespaces (user_namespaces(7)).

A client sends eight bytes: SEND or TAKE, and a number of bytes (32 bits, big-endian), which then
come or go; what was taken is answered by one byte.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from lvmm.errors import EnvironmentProblem
from lvmm.guest_build import ROOT

SERVER_ADDRESS, SERVER_PORT = "192.168.77.3", 7002

_NETWORK_BITS = 24
_FRAME_MAX = 4096
_READY = "ready"
# Fewer than the frames that the emulator's socket holds: what is lost there comes late.
_UNDER_WAY = 48 << 10
_CHUNK = 1 << 16
_REQUEST = struct.Struct("!4sI")

# sched.h, linux/if_tun.h, linux/if.h, linux/sockios.h.
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8914
_IFF_UP = 1
_NAME = b"lvmm0"


class TcpPeer:
    """The server as a process, while this is entered: it sends frames to the emulator's `port`, and
    takes them at the UDP port that entering returns. Raises EnvironmentProblem, on entering, where
    the system has no TAP devices or no namespaces for its users.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> int:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lvmm.bench.tcp_peer", str(self._port)],
            cwd=ROOT / "tools",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready, _, port = self._process.stdout.readline().partition(" ")
        if ready == _READY:
            return int(port)
        _, said = self._process.communicate()
        why = said.strip().splitlines()[-1:] or ["it ended without a message"]
        raise EnvironmentProblem(f"TCP needs a TAP device in a network namespace: {why[0]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.communicate()  # the end of its input ends it


def _enter_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare: {os.strerror(error)}")


def _open_tap() -> int:
    """A TAP device with the peer's address, up."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", _NAME, _IFF_TAP | _IFF_NO_PI))
    with contextlib.suppress(OSError):  # then there are a few more frames
        Path(f"/proc/sys/net/ipv6/conf/{_NAME.decode()}/disable_ipv6").write_text("1")
    mask = (0xFFFFFFFF << (32 - _NETWORK_BITS)) & 0xFFFFFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, address in (
            (_SIOCSIFADDR, socket.inet_aton(SERVER_ADDRESS)),
            (_SIOCSIFNETMASK, struct.pack("!I", mask)),
        ):
            name = struct.pack("16sHH4s8x", _NAME, socket.AF_INET, 0, address)
            fcntl.ioctl(control, request, name)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", _NAME, _IFF_UP))
    return tap


def _carry(tap: int, cable: socket.socket, emulator: tuple[str, int]) -> None:
    """Frames from one to the other, until standard input ends."""
    while True:
        readable, _, _ = select.select([tap, cable, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        with contextlib.suppress(OSError):  # a machine that is off, a frame that is none
            if tap in readable:
                cable.sendto(os.read(tap, _FRAME_MAX), emulator)
        with contextlib.suppress(OSError):
            if cable in readable:
                os.write(tap, cable.recv(_FRAME_MAX))


def _exactly(connection: socket.socket, size: int) -> bytes:
    return connection.recv(size, socket.MSG_WAITALL)


def _serve(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        request = _exactly(connection, _REQUEST.size)
        if len(request) != _REQUEST.size:
            return
        verb, left = _REQUEST.unpack(request)
        data = os.urandom(_CHUNK)
        while left > 0:
            part = min(left, _CHUNK)
            if verb == b"SEND":
                connection.sendall(data[:part])
            elif len(_exactly(connection, part)) != part:
                return
            left -= part
        if verb == b"TAKE":
            connection.sendall(b"!")
        connection.recv(1)  # until the client closes


def _listen(server: socket.socket) -> None:
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def main() -> int:
    """Serves until its input ends."""
    parser = argparse.ArgumentParser(description="A TCP server on the emulated cable")
    parser.add_argument("port", type=int, help="UDP port of the emulator's packet mover")
    port = parser.parse_args().port
    try:
        cable = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        cable.bind(("127.0.0.1", 0))
        cable.setblocking(False)
        _enter_namespace()
        tap = _open_tap()
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNDER_WAY)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNDER_WAY)
        server.bind((SERVER_ADDRESS, SERVER_PORT))
        server.listen()
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    threading.Thread(target=_listen, args=(server,), daemon=True).start()
    print(_READY, cable.getsockname()[1], flush=True)
    _carry(tap, cable, ("127.0.0.1", port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
