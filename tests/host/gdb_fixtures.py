"""What the tests with a raw client share: a fake guest that is served, and a client."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest
from tests.host.gdb_client import Client, unescaped
from tests.host.gdb_fake_target import FakeTarget, serving

GDB = b"qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;vContSupported+"


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def port(target: FakeTarget) -> Iterator[int]:
    with serving(target) as (server, _):
        yield server.port


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client(port) as connected:
        assert b"PacketSize=" in connected.ask(GDB)
        yield connected


def little(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little").hex().encode()


def registers_of(client: Client) -> dict[str, tuple[int, int]]:
    """Number and bits by name, from target.xml read in small parts."""
    root = ET.fromstring(document(client, b"features:read:target.xml"))
    return {
        reg.attrib["name"]: (int(reg.attrib["regnum"]), int(reg.attrib["bitsize"]))
        for reg in root.iter("reg")
    }


def document(client: Client, what: bytes, step: int = 1000) -> bytes:
    text = b""
    while True:
        reply = client.ask(b"qXfer:%b:%x,%x" % (what, len(text), step))
        assert reply[:1] in (b"l", b"m")
        text += unescaped(reply[1:])
        if reply[:1] == b"l":
            return text
