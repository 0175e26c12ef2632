"""The small parts that packets are made of, read strictly: the client may send anything."""

from __future__ import annotations

import re


class BadPacket(Exception):
    """The packet is not what the protocol says; str() says what is wrong."""


def number(text: bytes, bits: int = 64) -> int:
    """A hexadecimal number without a sign."""
    if not re.fullmatch(rb"[0-9a-fA-F]+", text):
        raise BadPacket("a hexadecimal number is missing")
    if len(text.lstrip(b"0")) * 4 > bits:
        raise BadPacket("a number is too big")
    return int(text, 16)


def address_and_length(text: bytes) -> tuple[int, int]:
    """`ADDR,LENGTH`."""
    address, comma, length = text.partition(b",")
    if not comma:
        raise BadPacket("an address and a length are needed")
    return number(address), number(length)


def hex_bytes(text: bytes) -> bytes:
    """Bytes as pairs of hexadecimal digits."""
    if not re.fullmatch(rb"(?:[0-9a-fA-F]{2})*", text):
        raise BadPacket("bytes are not in hexadecimal")
    return bytes.fromhex(text.decode("ascii"))


def check_thread(text: bytes) -> None:
    """A thread's id: the one CPU is thread 1; 0 is any thread, -1 all of them."""
    if text not in (b"0", b"-1") and number(text) != 1:
        raise BadPacket("there is one thread only: 1")
