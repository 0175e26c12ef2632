"""Types of a Linux kernel by its BTF, and where its per-CPU variables are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvmm.queries.data_types import DataType, Form, Parameter
from lvmm.vmcore.btf import Btf, BtfKind, BtfType
from lvmm.vmcore.kernel_variables import VARIABLES

_SIGNED = 1  # of an integer's encoding
_POINTER_BYTES = 8
_THROUGH = (
    *(BtfKind.TYPEDEF, BtfKind.VOLATILE, BtfKind.CONST, BtfKind.RESTRICT, BtfKind.TYPE_TAG),
)
_STRUCTURES = (BtfKind.STRUCT, BtfKind.UNION)
_DEPTH_MAX = 8  # of structures without a name in each other


class KernelTypes:
    """Implements lvmm.queries.data_types.Types."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._structures: dict[str, int] = {}
        self._functions: dict[str, int] = {}
        self._variables: dict[str, int] = {}
        self.per_cpu: dict[str, int] = {}  # offsets of per-CPU variables, by name
        for number in range(1, len(btf) + 1):
            item = btf.get(number)
            if item.kind in (*_STRUCTURES, BtfKind.TYPEDEF) and item.name:
                self._structures.setdefault(item.name, number)
            elif item.kind is BtfKind.FUNC:
                self._functions.setdefault(item.name, item.size)
            elif item.kind is BtfKind.VAR:
                self._variables.setdefault(item.name, item.size)
            elif item.kind is BtfKind.DATASEC and item.name == ".data..percpu":
                for variable, offset, _ in btf.words(item):
                    self.per_cpu[btf.get(variable).name] = offset

    def variable(self, name: str) -> DataType | None:
        """See Types: BTF has the per-CPU ones only, some more are known."""
        number = self._variables.get(name)
        if number is not None:
            return self._type(number)
        prefix, _, structure = VARIABLES.get(name, "").partition("struct ")
        return self.structure(structure) if not prefix else None

    def structure(self, name: str) -> DataType | None:
        """See Types."""
        number = self._structures.get(name)
        return self._type(number) if number is not None else None

    def parameters(self, function: str) -> Sequence[Parameter] | None:
        """See Types."""
        number = self._functions.get(function)
        if number is None:
            return None
        words = self._btf.words(self._btf.get(number))
        named = [word for word in words if word != (0, 0)]  # which stands for `...`
        return [Parameter(self._btf.text(name), self._type(kind)) for name, kind in named]

    def _type(self, number: int) -> DataType:
        item, name = self._resolved(number)
        if item is None:
            return DataType("void", 0)
        btf = self._btf
        match item.kind:
            case BtfKind.INT:
                signed = btf.words(item)[0][0] >> 24 & _SIGNED
                return DataType(name, item.size, Form.SIGNED if signed else Form.UNSIGNED)
            case BtfKind.ENUM | BtfKind.ENUM64:
                form = Form.SIGNED if item.flag else Form.UNSIGNED
                return DataType(f"enum {name}", item.size, form)
            case BtfKind.PTR:
                of, of_name = self._resolved(item.size)
                text = of is not None and of.kind is BtfKind.INT and of.name == "char"
                form = Form.TEXT if text else Form.POINTER
                return DataType(f"{of_name} *", _POINTER_BYTES, form)
            case BtfKind.ARRAY:
                element, _, count = btf.words(item)[0]
                of_type = self._type(element)
                return DataType(
                    f"{of_type.name}[{count}]", of_type.size * count, element=lambda: of_type
                )
            case BtfKind.STRUCT | BtfKind.UNION:
                return DataType(name, item.size, members=lambda: self._members(item))
            case _:
                return DataType(name, 0)

    def _resolved(self, number: int) -> tuple[BtfType | None, str]:
        """A type behind its names and qualifiers, and the first name on the way; None for void."""
        name = ""
        while number:
            item = self._btf.get(number)
            name = name or item.name
            if item.kind not in _THROUGH:
                prefix = "struct " if item.kind is BtfKind.STRUCT and name == item.name else ""
                return item, f"{prefix}{name}"
            number = item.size
        return None, name or "void"

    def _members(self, item: BtfType, depth: int = 0) -> Mapping[str, tuple[int, DataType]]:
        """Bit fields count from the byte that they begin in."""
        found: dict[str, tuple[int, DataType]] = {}
        for name_at, number, place in self._btf.words(item):
            bits = place & 0xFF_FFFF if item.flag else place
            name = self._btf.text(name_at)
            of, _ = self._resolved(number)
            if name:
                found[name] = (bits // 8, self._type(number))
            elif of is not None and of.kind in _STRUCTURES and depth < _DEPTH_MAX:
                for inner, (offset, kind) in self._members(of, depth + 1).items():
                    found.setdefault(inner, (bits // 8 + offset, kind))
        return found
