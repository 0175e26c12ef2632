"""Types of a program by the debug information in its ELF file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvmm.queries.data_types import DataType, Form, NoTypes, Parameter, Types

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_THROUGH = (
    *("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type"),
)
_STRUCTURES = ("DW_TAG_structure_type", "DW_TAG_union_type", "DW_TAG_class_type")
_SIGNED = (0x05, 0x06)  # DW_ATE_signed, DW_ATE_signed_char
_CHARACTERS = (0x06, 0x08)  # DW_ATE_signed_char, DW_ATE_unsigned_char


def program_types(path: Path) -> Types:
    """Those of an ELF file; none where it has no debug information, or cannot be read."""
    try:
        from elftools.common.exceptions import DWARFError, ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError:
        return NoTypes()
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            return _Program(elf.get_dwarf_info()) if elf.has_dwarf_info() else NoTypes()
    except (OSError, ELFError, DWARFError):
        return NoTypes()


class _Program:
    """Implements Types. All that is asked for by name is read at once, the rest when it is."""

    def __init__(self, dwarf: Any) -> None:
        """Raises ELFError or DWARFError."""
        self._variables: dict[str, DIE] = {}
        self._structures: dict[str, DIE] = {}
        self._functions: dict[str, DIE] = {}
        for unit in dwarf.iter_CUs():
            for die in unit.get_top_DIE().iter_children():
                self._index(die)

    def variable(self, name: str) -> DataType | None:
        """See Types."""
        die = self._variables.get(name)
        return _type(_of(die)) if die is not None else None

    def structure(self, name: str) -> DataType | None:
        """See Types."""
        die = self._structures.get(name)
        return _type(die) if die is not None else None

    def parameters(self, function: str) -> Sequence[Parameter] | None:
        """See Types."""
        die = self._functions.get(function)
        if die is None:
            return None
        return [
            Parameter(_name(child), _type(_of(child)))
            for child in die.iter_children()
            if child.tag == "DW_TAG_formal_parameter"
        ]

    def _index(self, die: DIE) -> None:
        name = _name(die)
        if die.tag == "DW_TAG_variable" and name and "DW_AT_type" in die.attributes:
            if "DW_AT_location" in die.attributes or name not in self._variables:
                self._variables[name] = die
        elif die.tag in (*_STRUCTURES, "DW_TAG_typedef") and name:
            if "DW_AT_declaration" not in die.attributes:
                self._structures.setdefault(name, die)
        elif die.tag == "DW_TAG_subprogram" and name:
            self._functions.setdefault(name, die)


def _name(die: DIE) -> str:
    value = die.attributes.get("DW_AT_name")
    return value.value.decode("utf-8", "replace") if value is not None else ""


def _of(die: DIE) -> DIE | None:
    """The type that an entry refers to; None for void."""
    return die.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in die.attributes else None


def _size(die: DIE) -> int:
    value = die.attributes.get("DW_AT_byte_size")
    return int(value.value) if value is not None else 0


def _type(die: DIE | None, name: str = "") -> DataType:
    while die is not None and die.tag in _THROUGH:
        name = name or _name(die)
        die = _of(die)
    if die is None:
        return DataType(name or "void", 0)
    name = name or _name(die)
    if die.tag in ("DW_TAG_base_type", "DW_TAG_enumeration_type"):
        encoding = die.attributes.get("DW_AT_encoding")
        signed = encoding is not None and encoding.value in _SIGNED
        return DataType(name, _size(die), Form.SIGNED if signed else Form.UNSIGNED)
    if die.tag == "DW_TAG_pointer_type":
        of = _of(die)
        form = Form.TEXT if _is_text(of) else Form.POINTER
        return DataType(f"{_type(of).name} *" if of is not None else "void *", _size(die), form)
    if die.tag == "DW_TAG_array_type":
        return _array(die)
    if die.tag in _STRUCTURES:
        structure = die
        return DataType(name, _size(die), members=lambda: _members(structure))
    return DataType(name, _size(die))


def _is_text(die: DIE | None) -> bool:
    while die is not None and die.tag in _THROUGH:
        die = _of(die)
    if die is None or die.tag != "DW_TAG_base_type":
        return False
    return die.attributes["DW_AT_encoding"].value in _CHARACTERS and _name(die) == "char"


def _array(die: DIE) -> DataType:
    """Of several dimensions the outermost is the first step."""
    kind = _type(_of(die))
    for child in reversed(list(die.iter_children())):
        if child.tag != "DW_TAG_subrange_type":
            continue
        bound = child.attributes.get("DW_AT_upper_bound")
        count = child.attributes.get("DW_AT_count")
        number = bound.value + 1 if bound is not None else count.value if count is not None else 0
        kind = _array_of(kind, number)
    return kind


def _array_of(kind: DataType, count: int) -> DataType:
    return DataType(f"{kind.name}[{count}]", kind.size * count, element=lambda: kind)


def _members(die: DIE) -> Mapping[str, tuple[int, DataType]]:
    found: dict[str, tuple[int, DataType]] = {}
    for child in die.iter_children():
        if child.tag != "DW_TAG_member":
            continue
        place = child.attributes.get("DW_AT_data_member_location")
        offset = int(place.value) if place is not None else 0
        kind = _type(_of(child))
        if _name(child):
            found[_name(child)] = (offset, kind)
        else:
            for name, (inner, of) in kind.members().items():
                found.setdefault(name, (offset + inner, of))
    return found
