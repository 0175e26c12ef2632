"""drgn's types and objects of a Linux kernel from its BTF, where there is no DWARF."""

from __future__ import annotations

from collections.abc import Callable

from drgn import (
    FindObjectFlags,
    Object,
    Program,
    Qualifiers,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeKindSet,
    TypeMember,
    TypeParameter,
)

from lvmm.vmcore.btf import Btf, BtfError, BtfKind, BtfType
from lvmm.vmcore.kernel_variables import VARIABLES

_SIGNED, _BOOL = 1, 4  # of an integer's encoding
_QUALIFIERS = {
    BtfKind.VOLATILE: Qualifiers.VOLATILE,
    BtfKind.CONST: Qualifiers.CONST,
    BtfKind.RESTRICT: Qualifiers.RESTRICT,
}
_NAMED = {
    BtfKind.STRUCT: TypeKind.STRUCT,
    BtfKind.UNION: TypeKind.UNION,
    BtfKind.ENUM: TypeKind.ENUM,
    BtfKind.ENUM64: TypeKind.ENUM,
    BtfKind.TYPEDEF: TypeKind.TYPEDEF,
    BtfKind.FLOAT: TypeKind.FLOAT,
}
_ENUMS = (BtfKind.ENUM, BtfKind.ENUM64)
# BTF writes names of basic types as the compiler does, drgn asks for them in its own way.
_BASIC = {
    "long int": "long",
    "long unsigned int": "unsigned long",
    "long long int": "long long",
    "long long unsigned int": "unsigned long long",
    "short int": "short",
    "short unsigned int": "unsigned short",
    "_Bool": "_Bool",
}


class BtfTypes:
    """Makes drgn's types. `address_of` gives a symbol's address, None for an unknown one."""

    def __init__(self, prog: Program, btf: Btf, address_of: Callable[[str], int | None]) -> None:
        self._prog = prog
        self._btf = btf
        self._address_of = address_of
        self._types: dict[int, Type] = {}
        self._named: dict[tuple[TypeKind, str], int] = {}
        self._functions: dict[str, int] = {}
        self._per_cpu: dict[str, int] = {}
        self._constants: dict[str, int] = {}
        for number in range(1, len(btf) + 1):
            self._index(number, btf.get(number))

    def register(self) -> None:
        """Lets the program find its types and objects here when it finds them nowhere else."""
        self._prog.register_type_finder("lvmm-btf", self.find_type, enable_index=-1)
        self._prog.register_object_finder("lvmm-btf", self.find_object, enable_index=-1)

    def find_type(
        self, _prog: Program, kinds: TypeKindSet, name: str, filename: str | None
    ) -> Type | None:
        """A type finder."""
        if filename:
            return None  # BTF does not know files
        for kind in kinds:
            number = self._named.get((kind, name))
            if number is not None:
                return self.type(number)
        return None

    def find_object(
        self, prog: Program, name: str, flags: FindObjectFlags, filename: str | None
    ) -> Object | None:
        """An object finder."""
        if filename:
            return None
        if flags & FindObjectFlags.CONSTANT and name in self._constants:
            return self._constant(name)
        if flags & FindObjectFlags.FUNCTION and name in self._functions:
            return self._at(name, self.type(self._functions[name]))
        if flags & FindObjectFlags.VARIABLE:
            if name in self._per_cpu:
                return self._at(name, self.type(self._per_cpu[name]))
            if name in VARIABLES:
                return self._at(name, prog.type(VARIABLES[name]))
        return None

    def type(self, number: int) -> Type:
        """A type by its number in BTF."""
        known = self._types.get(number)
        if known is None:
            known = self._types[number] = self._make(number)
        return known

    def _index(self, number: int, item: BtfType) -> None:
        if item.kind in _ENUMS:
            for entry in self._btf.words(item):
                self._constants.setdefault(self._btf.text(entry[0]), number)
        if not item.name:
            return
        if item.kind in _NAMED:
            self._named.setdefault((_NAMED[item.kind], item.name), number)
        elif item.kind is BtfKind.INT:
            boolean = self._btf.words(item)[0][0] >> 24 & _BOOL
            kind = TypeKind.BOOL if boolean else TypeKind.INT
            self._named.setdefault((kind, _BASIC.get(item.name, item.name)), number)
        elif item.kind is BtfKind.FUNC:
            self._functions.setdefault(item.name, item.size)
        elif item.kind is BtfKind.VAR:
            self._per_cpu.setdefault(item.name, item.size)

    def _make(self, number: int) -> Type:
        prog = self._prog
        if number == 0:
            return prog.void_type()
        item = self._btf.get(number)
        match item.kind:
            case BtfKind.INT:
                return self._integer(item)
            case BtfKind.FLOAT:
                return prog.float_type(item.name, item.size)
            case BtfKind.PTR:
                return prog.pointer_type(self.type(item.size))
            case BtfKind.ARRAY:
                element, _, length = self._btf.words(item)[0]
                return prog.array_type(self.type(element), length)
            case BtfKind.STRUCT:
                return prog.struct_type(item.name or None, item.size, self._members(item))
            case BtfKind.UNION:
                return prog.union_type(item.name or None, item.size, self._members(item))
            case BtfKind.ENUM | BtfKind.ENUM64:
                return self._enumeration(item)
            case BtfKind.FWD:
                return prog.union_type(item.name) if item.flag else prog.struct_type(item.name)
            case BtfKind.TYPEDEF:
                return prog.typedef_type(item.name, self.type(item.size))
            case BtfKind.VOLATILE | BtfKind.CONST | BtfKind.RESTRICT:
                of = self.type(item.size)
                return of.qualified(of.qualifiers | _QUALIFIERS[item.kind])
            case BtfKind.TYPE_TAG:
                return self.type(item.size)
            case BtfKind.FUNC_PROTO:
                return self._function(item)
        raise BtfError(f"type {number} of BTF is of kind {item.kind.name}: no type of a value")

    def _integer(self, item: BtfType) -> Type:
        encoding = self._btf.words(item)[0][0] >> 24
        name = _BASIC.get(item.name, item.name)
        if encoding & _BOOL:
            return self._prog.bool_type(name, item.size)
        return self._prog.int_type(name, item.size, bool(encoding & _SIGNED))

    def _members(self, item: BtfType) -> list[TypeMember]:
        members = []
        for name, number, place in self._btf.words(item):
            bits = place >> 24 if item.flag else 0
            offset = place & 0xFFFFFF if item.flag else place
            members.append(
                TypeMember(self._member(number, bits), self._btf.text(name) or None, offset)
            )
        return members

    def _member(self, number: int, bits: int) -> Callable[[], Object | Type]:
        if bits:
            return lambda: Object(self._prog, self.type(number), bit_field_size=bits)
        return lambda: self.type(number)

    def _enumeration(self, item: BtfType) -> Type:
        entries = []
        width = 8 * item.size
        for entry in self._btf.words(item):
            value = entry[1] | (entry[2] << 32 if item.kind is BtfKind.ENUM64 else 0)
            value &= (1 << width) - 1
            if item.flag and value >> (width - 1):
                value -= 1 << width
            entries.append(TypeEnumerator(self._btf.text(entry[0]), value))
        size = {1: "char", 2: "short", 4: "int", 8: "long"}[item.size]
        name = size if item.flag else f"unsigned {size}"
        base = self._prog.int_type(name, item.size, item.flag)
        return self._prog.enum_type(item.name or None, base, entries)

    def _function(self, item: BtfType) -> Type:
        parameters = self._btf.words(item)
        variadic = bool(parameters) and parameters[-1] == (0, 0)
        return self._prog.function_type(
            self.type(item.size),
            [
                TypeParameter(self._member(number, 0), self._btf.text(name) or None)
                for name, number in parameters[: len(parameters) - variadic]
            ],
            variadic,
        )

    def _constant(self, name: str) -> Object:
        kind = self.type(self._constants[name])
        value = next(entry.value for entry in kind.enumerators or () if entry.name == name)
        return Object(self._prog, kind, value=value)

    def _at(self, name: str, kind: Type) -> Object | None:
        address = self._address_of(name)
        return Object(self._prog, kind, address=address) if address is not None else None
