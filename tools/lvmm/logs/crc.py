"""CRC-32C by whichever library is installed: google-crc32c (fast) or crcmod."""

from __future__ import annotations

from collections.abc import Callable

from lvmm.errors import EnvironmentProblem


def _find() -> Callable[[int, bytes], int]:
    try:
        import google_crc32c
    except ImportError:
        pass
    else:
        return google_crc32c.extend  # type: ignore[no-any-return]
    try:
        import crcmod.predefined  # type: ignore[import-untyped]
    except ImportError:
        raise EnvironmentProblem(
            "no CRC-32C library: install the Python package google-crc32c or crcmod"
        ) from None
    extend = crcmod.predefined.mkCrcFun("crc-32c")
    return lambda crc, data: extend(data, crc)


_extend: Callable[[int, bytes], int] | None = None


def crc32c(data: bytes, crc: int = 0) -> int:
    """The CRC of `data` appended to bytes whose CRC is `crc`.

    Raises EnvironmentProblem when neither library is installed.
    """
    global _extend
    if _extend is None:
        _extend = _find()
    return _extend(crc, data)
