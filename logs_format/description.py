"""Read and check events.toml, the description of the log."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

SCALAR_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
# Told relative to what is expected; such a field is the only one of its event.
PREDICTED_CODINGS = ("tsc", "ticks", "vector", "read", "transfer")
FIELD_CODINGS = (*SCALAR_SIZES, "uvarint", *PREDICTED_CODINGS, "frame", "bytes")
DATA_CODINGS = ("frame", "bytes")
EVENT_KIND_LIMIT = 32  # the kind takes five bits of an event's first byte


class DescriptionError(Exception):
    """events.toml contradicts itself."""


@dataclass(frozen=True)
class Value:
    """A named number: a constant or a member of an enumeration."""

    name: str
    value: int
    doc: str


@dataclass(frozen=True)
class Member:
    """A field of a fixed layout: `count` (1 unless `is_array`) elements of `size` bytes."""

    name: str
    type: str
    size: int
    count: int
    is_array: bool
    offset: int
    doc: str


@dataclass(frozen=True)
class Layout:
    """A fixed layout; `size` in bytes."""

    name: str
    doc: str
    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Field:
    """A field of an event, and how it is coded."""

    name: str
    coding: str
    doc: str


@dataclass(frozen=True)
class Event:
    """An event kind. A note tells the tools something and is no input."""

    name: str
    kind: int
    doc: str
    fields: tuple[Field, ...]
    is_note: bool

    @property
    def stored_fields(self) -> tuple[Field, ...]:
        """The fields held in the payload structure; `bytes` are held beside it."""
        return tuple(field for field in self.fields if field.coding not in DATA_CODINGS)

    @property
    def data_field(self) -> str | None:
        """The name of the field that holds data, if any."""
        if not self.fields:
            return None
        last = self.fields[-1]
        if last.coding == "transfer":
            return "data"
        return last.name if last.coding in DATA_CODINGS else None


@dataclass(frozen=True)
class Description:
    """Everything in events.toml."""

    format_version: int
    constants: tuple[Value, ...]
    enums: dict[str, tuple[Value, ...]]
    layouts: dict[str, Layout]
    events: tuple[Event, ...]


def read_source(path: Path) -> dict:  # type: ignore[type-arg]
    """The file's content; raises DescriptionError or OSError."""
    with path.open("rb") as file:
        try:
            return tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise DescriptionError(f"{path}: {error}") from error


def load(path: Path) -> Description:
    """Read and check the description; raises DescriptionError or OSError."""
    source = read_source(path)
    layouts: dict[str, Layout] = {}
    for name, entry in source["struct"].items():
        layouts[name] = layout(name, entry, layouts)
    events = tuple(_event(name, entry) for name, entry in source["event"].items())
    if len({event.kind for event in events}) != len(events):
        raise DescriptionError("two events have the same kind")
    return Description(
        format_version=source["format_version"],
        constants=values(source["constant"]),
        enums={name: values(entry) for name, entry in source["enum"].items()},
        layouts=layouts,
        events=events,
    )


def values(entry: dict[str, list[int | str]]) -> tuple[Value, ...]:
    """The named numbers of a table."""
    return tuple(Value(name, int(item[0]), str(item[1])) for name, item in entry.items())


def layout(
    name: str,
    entry: dict,  # type: ignore[type-arg]
    known: dict[str, Layout],
    packed: bool = False,
) -> Layout:
    """A fixed layout: its members are naturally aligned and its size is given, or it is packed.

    Raises DescriptionError when the entry does not say what is so.
    """
    members = []
    offset = 0
    for member_name, type_text, doc in entry["fields"]:
        match = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", type_text)
        if match is None:
            raise DescriptionError(f"struct {name}.{member_name}: bad type {type_text!r}")
        base, count = match[1], int(match[2] or 1)
        if base in SCALAR_SIZES:
            size = alignment = SCALAR_SIZES[base]
        elif base in known:
            size, alignment = known[base].size, 8
        else:
            raise DescriptionError(f"struct {name}.{member_name}: unknown type {base!r}")
        if offset % alignment and not packed:
            raise DescriptionError(f"struct {name}.{member_name}: not aligned at {offset}")
        members.append(Member(member_name, base, size, count, match[2] is not None, offset, doc))
        offset += size * count
    if not packed and offset != entry["size"]:
        raise DescriptionError(f"struct {name}: size is {offset}, not {entry['size']}")
    return Layout(name, entry["doc"], offset, tuple(members))


def _event(name: str, entry: dict) -> Event:  # type: ignore[type-arg]
    fields = tuple(Field(*field) for field in entry["fields"])
    if not 0 < entry["kind"] < EVENT_KIND_LIMIT:
        raise DescriptionError(f"event {name}: kind {entry['kind']} is out of range")
    for position, field in enumerate(fields):
        if field.coding not in FIELD_CODINGS:
            raise DescriptionError(f"event {name}.{field.name}: unknown type {field.coding!r}")
        if field.coding in DATA_CODINGS and position != len(fields) - 1:
            raise DescriptionError(f"event {name}.{field.name}: data must be the last field")
        if field.coding in PREDICTED_CODINGS and len(fields) != 1:
            raise DescriptionError(f"event {name}.{field.name} must be the only field")
    return Event(name, entry["kind"], entry["doc"], fields, entry.get("note", False))
