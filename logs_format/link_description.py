"""Read and check link.toml, the description of the debug link."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from logs_format.description import (
    DescriptionError,
    Layout,
    Value,
    layout,
    read_source,
    values,
)


@dataclass(frozen=True)
class Shape:
    """What follows the opcode of a request, or the result of its reply."""

    fields: Layout | None
    has_data: bool

    @property
    def size(self) -> int:
        """Bytes of the fields."""
        return self.fields.size if self.fields else 0


@dataclass(frozen=True)
class Request:
    """A request and its reply."""

    name: str
    opcode: int
    channel: str
    doc: str
    request: Shape
    reply: Shape


@dataclass(frozen=True)
class LinkDescription:
    """Everything in link.toml; `layouts` are those that are shared or a request's own."""

    version: int
    digest: int
    constants: tuple[Value, ...]
    enums: dict[str, tuple[Value, ...]]
    layouts: dict[str, Layout]
    requests: tuple[Request, ...]


def load_link(path: Path) -> LinkDescription:
    """Read and check the description; raises DescriptionError or OSError."""
    source = read_source(path)
    layouts: dict[str, Layout] = {}
    for name, entry in source["struct"].items():
        layouts[name] = layout(name, entry, layouts, packed=True)
    description = LinkDescription(
        version=source["protocol_version"],
        digest=_digest(source),
        constants=values(source["constant"]),
        enums={name: values(entry) for name, entry in source["enum"].items()},
        requests=tuple(_request(name, entry, layouts) for name, entry in source["request"].items()),
        layouts=layouts,
    )
    _check(description)
    return description


def _request(name: str, entry: dict, layouts: dict[str, Layout]) -> Request:  # type: ignore[type-arg]
    def shape(part: str) -> Shape:
        fields = entry.get(part)
        has_data = bool(entry.get(f"{part}_data", False))
        if fields is None:
            return Shape(None, has_data)
        if isinstance(fields, str):
            if fields not in layouts:
                raise DescriptionError(f"request {name}: unknown structure {fields!r}")
            return Shape(layouts[fields], has_data)
        key = f"{name.lower()}_{part}"
        doc = {"request": "The fields of a", "reply": "The fields of the reply to a"}[part]
        table = {"doc": f"{doc} {name}.", "fields": fields}
        layouts[key] = layout(key, table, layouts, packed=True)
        return Shape(layouts[key], has_data)

    return Request(
        name,
        entry["opcode"],
        entry["channel"],
        entry["doc"],
        shape("request"),
        shape("reply"),
    )


def _check(description: LinkDescription) -> None:
    """Every opcode is used once, every channel is known, every payload fits."""
    requests = description.requests
    if [request.opcode for request in requests] != list(range(1, len(requests) + 1)):
        raise DescriptionError("the requests' opcodes do not count from 1")
    limits = {constant.name: constant.value for constant in description.constants}
    channels = {value.name for value in description.enums["channel"]}
    for request in requests:
        if request.channel not in channels:
            raise DescriptionError(f"request {request.name}: unknown channel {request.channel!r}")
        for shape in (request.request, request.reply):
            data = limits["DATA_MAX"] if shape.has_data else 0
            if 1 + shape.size + data > limits["PAYLOAD_MAX"]:
                raise DescriptionError(f"request {request.name}: more than PAYLOAD_MAX")


def _digest(source: object) -> int:
    """A number for all that matters on the wire: names, numbers, types, but no texts."""
    return int.from_bytes(hashlib.sha256(repr(_without_texts(source)).encode()).digest()[:4])


def _without_texts(part: object) -> object:
    if isinstance(part, dict):
        return [(key, _without_texts(value)) for key, value in part.items() if key != "doc"]
    if isinstance(part, list) and part and not isinstance(part[0], list):
        return part[:-1]  # [value, doc] or [name, type, doc]
    return [_without_texts(item) for item in part] if isinstance(part, list) else part
