"""Types of a guest's data, wherever they were found (lvmm.queries.{btf_types,dwarf_types})."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Form(enum.Enum):
    """What a value is."""

    UNSIGNED = "unsigned"
    SIGNED = "signed"
    POINTER = "pointer"
    TEXT = "text"  # a pointer to characters
    OTHER = "other"


def _none() -> Mapping[str, tuple[int, DataType]]:
    return {}


@dataclass(frozen=True)
class DataType:
    """A type: its name, and its size in bytes, 0 for none. `members` gives those of a structure
    with their offsets in bytes, `element` is an array's.
    """

    name: str
    size: int
    form: Form = Form.OTHER
    members: Callable[[], Mapping[str, tuple[int, DataType]]] = _none
    element: Callable[[], DataType] | None = None


@dataclass(frozen=True)
class Parameter:
    """Of a function; `name` may be empty."""

    name: str
    type: DataType


class Types(Protocol):
    """What is known of a program's types."""

    def variable(self, name: str) -> DataType | None:
        """The type of a variable."""

    def structure(self, name: str) -> DataType | None:
        """A structure, union or typedef by its name, without `struct`."""

    def parameters(self, function: str) -> Sequence[Parameter] | None:
        """Those of a function that have a name."""


class NoTypes:
    """For a program without type data."""

    def variable(self, name: str) -> DataType | None:
        """See Types."""
        del name
        return None

    def structure(self, name: str) -> DataType | None:
        """See Types."""
        del name
        return None

    def parameters(self, function: str) -> Sequence[Parameter] | None:
        """See Types."""
        del function
        return None
