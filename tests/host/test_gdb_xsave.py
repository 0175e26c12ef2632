"""Registers in an XSAVE image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.host.gdb_fake_target import fpu_image

from lvmm.gdb import xsave

ONE = 0x3FFF_8000000000000000  # 1.0 in double extended precision
INFINITY = 0x7FFF_8000000000000000


def image(*, in_use: int, size: int = 832) -> bytes:
    out = bytearray(b"\xa5" * size)
    if size > 512:
        out[512:576] = in_use.to_bytes(8, "little") + bytes(56)
    return bytes(out)


def test_registers_are_where_the_manual_has_them() -> None:
    saved = fpu_image()
    assert xsave.read(saved, "fctrl") == 0x37F
    assert xsave.read(saved, "mxcsr") == 0x1F80
    assert xsave.read(saved, "xmm3") == int.from_bytes(range(48, 64), "little")
    assert xsave.read(saved, "ymm15h") == int.from_bytes(range(15, -1, -1), "little")


def test_components_in_their_initial_state() -> None:
    saved = image(in_use=0)
    assert xsave.read(saved, "fctrl") == 0x37F
    assert xsave.read(saved, "ftag") == 0xFFFF
    for name in ("st0", "fstat", "xmm0", "ymm0h"):
        assert xsave.read(saved, name) == 0
    assert xsave.read(saved, "mxcsr") == 0xA5A5A5A5  # XSAVE always writes it


def test_writing_to_such_a_component_takes_it_into_use() -> None:
    changed = xsave.write(image(in_use=0), "xmm5", 77)
    assert changed is not None
    assert changed[512] == 0b010
    assert xsave.read(changed, "xmm5") == 77
    assert xsave.read(changed, "xmm6") == 0
    assert xsave.read(changed, "st0") == 0


def test_images_without_avx() -> None:
    for size in (512, 576):
        saved = image(in_use=7, size=size)
        assert xsave.read(saved, "ymm0h") is None
        assert xsave.write(saved, "ymm0h", 1) is None
        assert xsave.read(saved, "xmm0") == int.from_bytes(b"\xa5" * 16, "little")


@pytest.mark.parametrize("top", range(8))
def test_tags_follow_the_stack_top(top: int) -> None:
    saved = bytearray(image(in_use=7))
    saved[2:4] = (top << 11).to_bytes(2, "little")
    contents = {0: (ONE, 0), 1: (0, 1), 2: (INFINITY, 2), 3: (1, 2)}  # ST(i): value, its tag
    expected = 0xFFFF
    saved[4] = 0
    for i, (value, tag) in contents.items():
        saved[32 + 16 * i : 42 + 16 * i] = value.to_bytes(10, "little")
        physical = (top + i) % 8
        saved[4] |= 1 << physical
        expected = expected & ~(3 << 2 * physical) | tag << 2 * physical
    assert xsave.read(bytes(saved), "ftag") == expected
    again = xsave.write(bytes(saved), "ftag", expected)
    assert again == bytes(saved)


@given(
    st.sampled_from([name for name in xsave.NAMES if name != "ftag"]),
    st.integers(0, (1 << 128) - 1),
    st.integers(0, 7),
)
def test_writing_changes_one_register(name: str, value: int, in_use: int) -> None:
    before = image(in_use=in_use)
    after = xsave.write(before, name, value)
    assert after is not None and len(after) == len(before)
    size = 10 if name.startswith("st") else {"f": 4, "m": 4}.get(name[0], 16)
    if name in ("fctrl", "fstat", "fop", "fiseg", "foseg"):
        size = 2
    assert xsave.read(after, name) == value % (1 << 8 * size)
    for other in xsave.NAMES:
        if (
            other != name
            and (other, name) != ("ftag", "fstat")
            and not (other == "ftag" and name.startswith("st"))
        ):
            assert xsave.read(after, other) == xsave.read(before, other), other
