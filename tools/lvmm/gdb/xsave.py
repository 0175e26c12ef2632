"""The FPU's state in an XSAVE image of the standard format (SDM volume 1, 13.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ST, _XMM, _MXCSR = 32, 160, 24
_HEADER = 512  # XSTATE_BV: which components are not in their initial state
_AVX = 576  # CPUID.0DH.2:EBX on every CPU that has AVX
_X87_BIT, _SSE_BIT, _AVX_BIT = 0, 1, 2

_INITIAL_FCW = 0x37F
_VALID, _ZERO, _SPECIAL, _EMPTY = range(4)


@dataclass(frozen=True)
class _Field:
    offset: int
    size: int
    component: int | None  # None: always in the image
    initial: int = 0


# The names are those of gdb's registers.
_FIELDS: Mapping[str, _Field] = {
    **{f"st{i}": _Field(_ST + 16 * i, 10, _X87_BIT) for i in range(8)},
    "fctrl": _Field(0, 2, _X87_BIT, _INITIAL_FCW),
    "fstat": _Field(2, 2, _X87_BIT),
    "fop": _Field(6, 2, _X87_BIT),
    "fioff": _Field(8, 4, _X87_BIT),
    "fiseg": _Field(12, 2, _X87_BIT),
    "fooff": _Field(16, 4, _X87_BIT),
    "foseg": _Field(20, 2, _X87_BIT),
    **{f"xmm{i}": _Field(_XMM + 16 * i, 16, _SSE_BIT) for i in range(16)},
    "mxcsr": _Field(_MXCSR, 4, None),
    **{f"ymm{i}h": _Field(_AVX + 16 * i, 16, _AVX_BIT) for i in range(16)},
}
_ABRIDGED_TAG = _Field(4, 1, _X87_BIT)

NAMES = (*_FIELDS, "ftag")


def read(image: bytes, name: str) -> int | None:
    """The value of a register; None where the image does not have it."""
    if name == "ftag":
        return _full_tag(image)
    return _get(image, _FIELDS[name])


def write(image: bytes, name: str, value: int) -> bytes | None:
    """The image with a register changed; None where it does not have that register."""
    if name == "ftag":
        tags = ((value >> 2 * i & 3) != _EMPTY for i in range(8))
        value, field = sum(used << i for i, used in enumerate(tags)), _ABRIDGED_TAG
    else:
        field = _FIELDS[name]
    out = bytearray(image)
    if not _put(out, field, value):
        return None
    return bytes(out)


def _in_use(image: bytes | bytearray, component: int | None) -> bool:
    """Whether the component is in the image, and not in its initial state."""
    if component is None or len(image) < _HEADER + 8:  # an FXSAVE image has everything it can have
        return True
    return bool(int.from_bytes(image[_HEADER : _HEADER + 8], "little") >> component & 1)


def _get(image: bytes, field: _Field) -> int | None:
    if field.offset + field.size > len(image):
        return None
    if not _in_use(image, field.component):
        return field.initial
    return int.from_bytes(image[field.offset : field.offset + field.size], "little")


def _put(image: bytearray, field: _Field, value: int) -> bool:
    if field.offset + field.size > len(image):
        return False
    if field.component is not None and not _in_use(image, field.component):
        _start_component(image, field.component)
    mask = (1 << 8 * field.size) - 1
    image[field.offset : field.offset + field.size] = (value & mask).to_bytes(field.size, "little")
    return True


def _start_component(image: bytearray, component: int) -> None:
    """Put a component's initial state into the image and mark it as in use."""
    for field in (*_FIELDS.values(), _ABRIDGED_TAG):
        if field.component == component and field.offset + field.size <= len(image):
            value = field.initial.to_bytes(field.size, "little")
            image[field.offset : field.offset + field.size] = value
    in_use = int.from_bytes(image[_HEADER : _HEADER + 8], "little") | 1 << component
    image[_HEADER : _HEADER + 8] = in_use.to_bytes(8, "little")


def _full_tag(image: bytes) -> int | None:
    """FTW with its two bits a register, from the image's one and the registers' contents.

    SDM volume 1, table 10-1 (FXSAVE). The tags are of physical registers; ST(0) is the one at TOP.
    """
    used, status = _get(image, _ABRIDGED_TAG), _get(image, _FIELDS["fstat"])
    if used is None or status is None:
        return None
    top = status >> 11 & 7
    full = 0
    for physical in range(8):
        value = _get(image, _FIELDS[f"st{(physical - top) % 8}"]) or 0
        full |= (_tag(value) if used >> physical & 1 else _EMPTY) << 2 * physical
    return full


def _tag(value: int) -> int:
    exponent, fraction = value >> 64 & 0x7FFF, value & ((1 << 64) - 1)
    if exponent == 0:
        return _SPECIAL if fraction else _ZERO
    return _VALID if exponent != 0x7FFF and fraction >> 63 else _SPECIAL
