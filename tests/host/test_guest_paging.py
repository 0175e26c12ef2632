"""Tests of hypervisor/core/guest_paging.c, built for the host under sanitizers.

Random page tables are compared with a model of SDM vol. 3, chapter 4, that is written here from
the manual's tables; rules that matter most are checked by hand-picked cases as well.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.host.cbuild import build

pytestmark = pytest.mark.host

OK, INVALID, UNSUPPORTED, FAULT = 0, -1, -3, -5
READ, WRITE, FETCH = 1, 2, 4

CR0_PE, CR0_WP, CR0_PG = 1 << 0, 1 << 16, 1 << 31
CR4_PSE, CR4_PAE, CR4_LA57 = 1 << 4, 1 << 5, 1 << 12
CR4_SMEP, CR4_SMAP, CR4_PKE, CR4_PKS = 1 << 20, 1 << 21, 1 << 22, 1 << 24
EFER_LMA, EFER_NXE = 1 << 10, 1 << 11

PF_P, PF_W, PF_U, PF_RSVD, PF_I, PF_PK = (1 << n for n in range(6))

P, RW, US, PS = 1 << 0, 1 << 1, 1 << 2, 1 << 7
XD = 1 << 63
PAGE = 4096

_QUERY = struct.Struct("<4Q4QQIIBBBB4x")
_REPLY = struct.Struct("<iIQ")


@dataclass(frozen=True)
class Query:
    """One translation: struct guest_paging and the access."""

    linear: int
    access: int = READ
    cr0: int = CR0_PG | CR0_PE | CR0_WP
    cr3: int = 0
    cr4: int = CR4_PAE
    efer: int = EFER_LMA | EFER_NXE
    pdpte: tuple[int, int, int, int] | None = None
    pkru: int = 0
    maxphyaddr: int = 40
    user: bool = False
    ac: bool = False

    def pack(self) -> bytes:
        """The query as the driver reads it."""
        pdpte = self.pdpte or (0, 0, 0, 0)
        return _QUERY.pack(
            *(self.cr0, self.cr3, self.cr4, self.efer),
            *pdpte,
            *(self.linear, self.pkru, self.access, self.pdpte is not None),
            *(self.maxphyaddr, self.user, self.ac),
        )


@dataclass(frozen=True)
class Answer:
    """What guest_translate() returns; `value` is the address or the page-fault error code."""

    result: int
    value: int = 0


@dataclass
class Driver:
    """Runs the C driver on a batch."""

    path: Path

    def translate(self, memory: bytes, queries: Sequence[Query]) -> list[Answer]:
        """Answer each of `queries` with `memory` as guest-physical memory from address 0."""
        data = struct.pack("<Q", len(memory)) + memory + b"".join(q.pack() for q in queries)
        done = subprocess.run(
            [self.path], input=data, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return [
            Answer(result, pf_error if result == FAULT else gpa)
            for result, pf_error, gpa in _REPLY.iter_unpack(done.stdout)
        ]


@pytest.fixture(scope="module")
def driver() -> Driver:
    sources = ["tests/host/c/guest_paging_driver.c", "hypervisor/core/guest_paging.c"]
    return Driver(build("guest_paging_driver", tuple(sources)))


# --- the model ---------------------------------------------------------------------------------


class PageFaultError(Exception):
    """#PF with the error-code bits that the walk itself determines."""


def bits(value: int, high: int, low: int) -> int:
    """Bits `high`:`low` of `value`."""
    return (value >> low) & ((1 << (high - low + 1)) - 1)


@dataclass
class Mapping:
    """Result of a walk: page address, page offset, and the rights of all levels."""

    address: int
    entries: list[int]
    key: int = 0


class Model:
    """Translation as the SDM's tables and figures describe it, one paging mode a method."""

    def __init__(self, memory: bytes) -> None:
        self.memory = memory

    def _entry(self, table: int, index: int, size: int) -> int:
        start = table + index * size
        if start + size > len(self.memory):
            raise LookupError
        return int.from_bytes(self.memory[start : start + size], "little")

    def _present(self, entry: int, reserved: Sequence[tuple[int, int]]) -> int:
        if not entry & P:
            raise PageFaultError(0)
        for high, low in reserved:
            if high >= low and bits(entry, high, low):
                raise PageFaultError(PF_P | PF_RSVD)
        return entry

    def walk_32bit(self, query: Query) -> Mapping:
        """Figure 4-2, figure 4-3, table 4-4 (4-MByte page), tables 4-5 and 4-6."""
        linear = query.linear
        pde = self._entry(query.cr3 & 0xFFFFF000, bits(linear, 31, 22), 4)
        if query.cr4 & CR4_PSE and pde & PS:
            width = min(40, query.maxphyaddr)  # PSE-36: bits 20:13 hold address bits 39:32
            self._present(pde, [(21, 21), (20, width - 19)])
            address = bits(pde, 31, 22) << 22 | bits(pde, 20, 13) << 32
            return Mapping(address | bits(linear, 21, 0), [pde])
        self._present(pde, [])
        pte = self._present(self._entry(pde & 0xFFFFF000, bits(linear, 21, 12), 4), [])
        return Mapping((pte & 0xFFFFF000) | bits(linear, 11, 0), [pde, pte])

    def _reserved_64(self, query: Query, top: int) -> list[tuple[int, int]]:
        reserved = [(top, query.maxphyaddr)]
        if not query.efer & EFER_NXE:
            reserved.append((63, 63))
        return reserved

    def walk_pae(self, query: Query) -> Mapping:
        """Figures 4-5 and 4-6, tables 4-8 to 4-11."""
        linear, width = query.linear, query.maxphyaddr
        if query.pdpte is not None:
            pdpte = query.pdpte[bits(linear, 31, 30)]
        else:
            pdpte = self._entry(query.cr3 & 0xFFFFFFE0, bits(linear, 31, 30), 8)
        self._present(pdpte, [])
        reserved = self._reserved_64(query, 62)
        pde = self._entry(bits(pdpte, 51, 12) << 12, bits(linear, 29, 21), 8)
        if pde & PS:
            self._present(pde, [*reserved, (20, 13)])
            return Mapping(bits(pde, width - 1, 21) << 21 | bits(linear, 20, 0), [pde])
        self._present(pde, reserved)
        pte = self._entry(bits(pde, width - 1, 12) << 12, bits(linear, 20, 12), 8)
        self._present(pte, reserved)
        return Mapping(bits(pte, width - 1, 12) << 12 | bits(linear, 11, 0), [pde, pte])

    def walk_long(self, query: Query) -> Mapping:
        """4-level and 5-level paging: figures 4-8 to 4-10, tables 4-14 to 4-20."""
        linear, width = query.linear, query.maxphyaddr
        reserved = self._reserved_64(query, 51)
        entries = []
        table = bits(query.cr3, 51, 12) << 12
        for shift in (48, 39) if query.cr4 & CR4_LA57 else (39,):
            entry = self._entry(table, bits(linear, shift + 8, shift), 8)
            entries.append(self._present(entry, [*reserved, (7, 7)]))
            table = bits(entry, width - 1, 12) << 12
        for shift, low_reserved in ((30, (29, 13)), (21, (20, 13))):
            entry = self._entry(table, bits(linear, shift + 8, shift), 8)
            entries.append(entry)
            if entry & PS:
                self._present(entry, [*reserved, low_reserved])
                address = bits(entry, width - 1, shift) << shift | bits(linear, shift - 1, 0)
                return Mapping(address, entries, key=bits(entry, 62, 59))
            self._present(entry, reserved)
            table = bits(entry, width - 1, 12) << 12
        pte = self._present(self._entry(table, bits(linear, 20, 12), 8), reserved)
        entries.append(pte)
        address = bits(pte, width - 1, 12) << 12 | bits(linear, 11, 0)
        return Mapping(address, entries, key=bits(pte, 62, 59))

    def _permitted(self, query: Query, mapping: Mapping) -> bool:
        """Section 4.6.1, bullet by bullet."""
        user_address = all(entry & US for entry in mapping.entries)
        writable = all(entry & RW for entry in mapping.entries)
        executable = not any(entry & XD for entry in mapping.entries)
        wp = bool(query.cr0 & CR0_WP)
        allowed = True
        if query.user:
            allowed &= user_address
            if query.access & WRITE:
                allowed &= writable
            if query.access & FETCH:
                allowed &= executable
        elif user_address:
            smap = bool(query.cr4 & CR4_SMAP) and not query.ac
            if query.access & READ:
                allowed &= not smap
            if query.access & WRITE:
                allowed &= not smap and (writable or not wp)
            if query.access & FETCH:
                allowed &= executable and not query.cr4 & CR4_SMEP
        else:
            if query.access & WRITE:
                allowed &= writable or not wp
            if query.access & FETCH:
                allowed &= executable
        return bool(allowed)

    def _key_denies(self, query: Query, mapping: Mapping) -> bool:
        """Section 4.7, the conditions of error-code bit PK."""
        if not (query.efer & EFER_LMA and query.cr4 & CR4_PKE):
            return False
        if not all(entry & US for entry in mapping.entries):
            return False
        if not query.access & (READ | WRITE):
            return False
        access_disable = query.pkru >> (2 * mapping.key) & 1
        write_disable = query.pkru >> (2 * mapping.key + 1) & 1
        denied_write = query.access & WRITE and (query.user or query.cr0 & CR0_WP)
        return bool(access_disable or (write_disable and denied_write))

    def translate(self, query: Query) -> Answer:
        """The answer that guest_translate() should give."""
        long_mode = query.efer & EFER_LMA
        if not long_mode:
            query = replace(query, linear=query.linear & 0xFFFF_FFFF)
        if not query.cr0 & CR0_PG:
            return Answer(OK, query.linear)
        if query.cr4 & CR4_PKS:
            return Answer(UNSUPPORTED)
        if long_mode:
            top = 56 if query.cr4 & CR4_LA57 else 47
            if bits(query.linear, 63, top) not in (0, (1 << (64 - top)) - 1):
                return Answer(INVALID)
        error = PF_W if query.access & WRITE else 0
        error |= PF_U if query.user else 0
        if query.access & FETCH:
            nx = query.cr4 & CR4_PAE and query.efer & EFER_NXE
            error |= PF_I if nx or query.cr4 & CR4_SMEP else 0
        walk = self.walk_32bit
        if query.cr4 & CR4_PAE:
            walk = self.walk_long if long_mode else self.walk_pae
        try:
            mapping = walk(query)
        except PageFaultError as fault:
            return Answer(FAULT, error | fault.args[0])
        except LookupError:
            return Answer(UNSUPPORTED)
        key_denies = self._key_denies(query, mapping)
        if key_denies or not self._permitted(query, mapping):
            return Answer(FAULT, error | PF_P | (PF_PK if key_denies else 0))
        return Answer(OK, mapping.address)


# --- random tables -----------------------------------------------------------------------------

TABLE_PAGES = 32


def random_entry(rng: random.Random, width: int) -> int:
    """An 8-byte entry that mostly leads on, with now and then each kind of oddity."""
    entry = rng.randrange(TABLE_PAGES) * PAGE | rng.getrandbits(5) << 5 & ~PS
    for bit, probability in ((P, 0.95), (RW, 0.85), (US, 0.8), (PS, 0.2), (XD, 0.15)):
        entry |= bit if rng.random() < probability else 0
    if entry & PS and rng.random() < 0.9:
        entry &= ~(0x1FFFF << 13)
    entry |= rng.getrandbits(4) << 59 if rng.random() < 0.3 else 0
    if rng.random() < 0.03:
        entry |= 1 << rng.randrange(12, 63)
    if rng.random() < 0.3:
        entry |= rng.getrandbits(width - 21) << 21 if entry & PS else 0
    return entry


def random_memory(rng: random.Random, entry_size: int, width: int) -> bytes:
    """Pages that are all tables, pointing at each other."""
    count = TABLE_PAGES * PAGE // entry_size
    if entry_size == 8:
        return struct.pack(f"<{count}Q", *(random_entry(rng, width) for _ in range(count)))
    entries = []
    for _ in range(count):
        entry = random_entry(rng, 32) & 0xFFFF_FFFF
        if entry & PS and rng.random() < 0.5:
            entry |= rng.getrandbits(9) << 13
        entries.append(entry)
    return struct.pack(f"<{count}I", *entries)


MODES = {
    "32-bit": (0, 0, 4),
    "PAE": (CR4_PAE, 0, 8),
    "4-level": (CR4_PAE, EFER_LMA, 8),
    "5-level": (CR4_PAE | CR4_LA57, EFER_LMA, 8),
}


def random_query(rng: random.Random, mode: str, memory: bytes, width: int) -> Query:
    cr4, efer, _ = MODES[mode]
    for bit in (CR4_PSE, CR4_SMEP, CR4_SMAP, CR4_PKE):
        cr4 |= bit if rng.random() < 0.5 else 0
    cr4 |= CR4_PKS if rng.random() < 0.01 else 0
    efer |= EFER_NXE if rng.random() < 0.7 else 0
    linear = rng.getrandbits(64)
    if efer & EFER_LMA and rng.random() < 0.95:
        top = 56 if cr4 & CR4_LA57 else 47
        linear &= (1 << (top + 1)) - 1
        linear |= (2**64 - (1 << top)) if linear >> top else 0
    pdpte = None
    if mode == "PAE" and rng.random() < 0.5:
        values = struct.unpack_from("<4Q", memory, 32 * rng.randrange(100))
        pdpte = (values[0], values[1], values[2], values[3])
    return Query(
        linear,
        access=rng.choice((READ, READ, WRITE, READ | WRITE, FETCH)),
        cr0=rng.choice((CR0_PG, CR0_PG | CR0_WP)) if rng.random() < 0.98 else 0,
        cr3=rng.randrange(TABLE_PAGES) * PAGE | rng.getrandbits(7) << 5,
        cr4=cr4,
        efer=efer,
        pdpte=pdpte,
        pkru=rng.getrandbits(32) & rng.getrandbits(32),
        maxphyaddr=width,
        user=rng.random() < 0.5,
        ac=rng.random() < 0.5,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("width", [36, 39, 46, 52])
def test_random_tables_match_the_model(driver: Driver, mode: str, width: int) -> None:
    rng = random.Random(f"{mode} {width}")
    memory = random_memory(rng, MODES[mode][2], width)
    model = Model(memory)
    queries = [random_query(rng, mode, memory, width) for _ in range(5000)]
    seen = set()
    for query, got in zip(queries, driver.translate(memory, queries), strict=True):
        wanted = model.translate(query)
        assert got == wanted, query
        seen.add(got.result if got.result != FAULT else (FAULT, got.value))
    # The tables must be good enough to reach all kinds of outcome.
    assert {OK, UNSUPPORTED, (FAULT, 0), (FAULT, PF_P | PF_W | PF_U)} <= seen


# --- hand-picked cases -------------------------------------------------------------------------


class Tables:
    """Guest memory with 4-level tables that map 0x400000 (4 KiB), 0x600000 (2 MiB), 0x80000000
    (1 GiB), built from rights that the tests vary."""

    PML4, PDPT, PD, PT = 0, PAGE, 2 * PAGE, 3 * PAGE

    def __init__(self, *, small: int = P | RW, large: int = P | RW, huge: int = P | RW) -> None:
        self.memory = bytearray(4 * PAGE)
        rights = P | RW | US
        self.put(self.PML4, 0, self.PDPT | rights)
        self.put(self.PDPT, 0, self.PD | rights)
        self.put(self.PDPT, 2, 0x1_4000_0000 | PS | huge)
        self.put(self.PD, 2, self.PT | rights)
        self.put(self.PD, 3, 0x2A0_0000 | PS | large)
        self.put(self.PT, 0, 0x1234_5000 | small)

    def put(self, table: int, index: int, entry: int) -> None:
        """Store an 8-byte entry."""
        struct.pack_into("<Q", self.memory, table + 8 * index, entry)


SMALL, LARGE, HUGE = 0x40_0123, 0x61_2345, 0x8765_4321


def ask(driver: Driver, tables: Tables, query: Query) -> Answer:
    """The answer to one query."""
    return driver.translate(bytes(tables.memory), [query])[0]


def test_page_sizes(driver: Driver) -> None:
    tables = Tables()
    assert ask(driver, tables, Query(SMALL)) == Answer(OK, 0x1234_5123)
    assert ask(driver, tables, Query(LARGE)) == Answer(OK, 0x2A1_2345)
    assert ask(driver, tables, Query(HUGE)) == Answer(OK, 0x1_4765_4321)


def test_without_paging_addresses_are_physical(driver: Driver) -> None:
    query = Query(0x1_2345_6789, cr0=CR0_PE, efer=0, cr4=0)
    assert ask(driver, Tables(), query) == Answer(OK, 0x2345_6789)


@pytest.mark.parametrize(
    ("linear", "la57", "wanted"),
    [
        (0x0000_8000_0000_0000, False, INVALID),
        (0xFFFF_7FFF_FFFF_FFFF, False, INVALID),
        (0xFFFF_8000_0000_0000, False, FAULT),
        (0x0000_8000_0000_0000, True, FAULT),
        (0x0100_0000_0000_0000, True, INVALID),
        (0xFF00_0000_0000_0000, True, FAULT),
    ],
)
def test_canonical_addresses(driver: Driver, linear: int, la57: bool, wanted: int) -> None:
    query = Query(linear, cr4=CR4_PAE | (CR4_LA57 if la57 else 0))
    assert ask(driver, Tables(), query).result == wanted


def test_write_protection(driver: Driver) -> None:
    tables = Tables(small=P | US)
    write = Query(SMALL, WRITE)
    denied = Answer(FAULT, PF_P | PF_W)
    assert ask(driver, tables, write) == denied
    assert ask(driver, tables, replace(write, cr0=CR0_PG)).result == OK
    user = replace(write, cr0=CR0_PG, user=True)
    assert ask(driver, tables, user) == Answer(FAULT, PF_P | PF_W | PF_U)
    both = replace(write, access=READ | WRITE)
    assert ask(driver, tables, both) == denied


def test_supervisor_page_is_closed_to_users(driver: Driver) -> None:
    query = Query(SMALL, user=True)
    assert ask(driver, Tables(small=P | RW), query) == Answer(FAULT, PF_P | PF_U)
    assert ask(driver, Tables(small=P | RW | US), query).result == OK


def test_rights_of_upper_levels_count(driver: Driver) -> None:
    tables = Tables(small=P | RW | US)
    tables.put(Tables.PML4, 0, Tables.PDPT | P)
    assert ask(driver, tables, Query(SMALL, WRITE)) == Answer(FAULT, PF_P | PF_W)
    assert ask(driver, tables, Query(SMALL, user=True)) == Answer(FAULT, PF_P | PF_U)
    tables.put(Tables.PML4, 0, Tables.PDPT | P | XD)
    assert ask(driver, tables, Query(SMALL, FETCH)) == Answer(FAULT, PF_P | PF_I)


def test_no_execute_needs_nxe(driver: Driver) -> None:
    tables = Tables(small=P | RW | XD)
    assert ask(driver, tables, Query(SMALL, FETCH)) == Answer(FAULT, PF_P | PF_I)
    assert ask(driver, tables, Query(SMALL, READ)).result == OK
    without = Query(SMALL, READ, efer=EFER_LMA)
    assert ask(driver, tables, without) == Answer(FAULT, PF_P | PF_RSVD)
    fetch = Query(SMALL, FETCH, efer=EFER_LMA)  # neither NXE nor SMEP: no I/D bit
    assert ask(driver, tables, fetch) == Answer(FAULT, PF_P | PF_RSVD)


def test_smep_and_smap(driver: Driver) -> None:
    tables = Tables(small=P | RW | US)
    fetch = Query(SMALL, FETCH, cr4=CR4_PAE | CR4_SMEP)
    assert ask(driver, tables, fetch) == Answer(FAULT, PF_P | PF_I)
    assert ask(driver, tables, replace(fetch, user=True)).result == OK
    assert ask(driver, Tables(), fetch).result == OK
    read = Query(SMALL, READ, cr4=CR4_PAE | CR4_SMAP)
    assert ask(driver, tables, read) == Answer(FAULT, PF_P)
    assert ask(driver, tables, replace(read, ac=True)).result == OK
    assert ask(driver, tables, replace(read, user=True)).result == OK
    assert ask(driver, tables, replace(read, access=FETCH)).result == OK
    unprotected = replace(read, access=WRITE, cr0=CR0_PG)
    assert ask(driver, tables, unprotected) == Answer(FAULT, PF_P | PF_W)


def test_protection_keys(driver: Driver) -> None:
    tables = Tables(small=P | RW | US | 5 << 59)
    access_disable, write_disable = 1 << 10, 2 << 10
    read = Query(SMALL, READ, cr4=CR4_PAE | CR4_PKE, pkru=access_disable, user=True)
    assert ask(driver, tables, read) == Answer(FAULT, PF_P | PF_U | PF_PK)
    assert ask(driver, tables, replace(read, cr4=CR4_PAE)).result == OK
    assert ask(driver, tables, replace(read, access=FETCH)).result == OK
    assert ask(driver, tables, replace(read, user=False)) == Answer(FAULT, PF_P | PF_PK)
    write = replace(read, access=WRITE, pkru=write_disable)
    assert ask(driver, tables, write) == Answer(FAULT, PF_P | PF_U | PF_W | PF_PK)
    assert ask(driver, tables, replace(write, access=READ)).result == OK
    assert ask(driver, tables, replace(write, user=False, cr0=CR0_PG)).result == OK
    supervisor_page = Tables(small=P | RW | 5 << 59)
    assert ask(driver, supervisor_page, replace(read, user=False)).result == OK
    assert ask(driver, tables, replace(read, cr4=CR4_PAE | CR4_PKS)).result == UNSUPPORTED


@pytest.mark.parametrize(
    ("linear", "table", "index", "bit"),
    [
        (SMALL, Tables.PML4, 0, 7),
        (SMALL, Tables.PML4, 0, 40),
        (SMALL, Tables.PT, 0, 51),
        (LARGE, Tables.PD, 3, 13),
        (LARGE, Tables.PD, 3, 20),
        (HUGE, Tables.PDPT, 2, 29),
    ],
)
def test_reserved_bits_fault(driver: Driver, linear: int, table: int, index: int, bit: int) -> None:
    tables = Tables()
    [entry] = struct.unpack_from("<Q", tables.memory, table + 8 * index)
    tables.put(table, index, entry | 1 << bit)
    assert ask(driver, tables, Query(linear, WRITE)) == Answer(FAULT, PF_P | PF_RSVD | PF_W)
    tables.put(table, index, (entry | 1 << bit) & ~P)
    assert ask(driver, tables, Query(linear, WRITE)) == Answer(FAULT, PF_W)


def test_ignored_bits_do_not_fault(driver: Driver) -> None:
    ignored = 0x7F << 52 | 7 << 9 | 1 << 5 | 1 << 6
    tables = Tables(small=P | RW | ignored | 1 << 7, large=P | RW | ignored | 1 << 12)
    assert ask(driver, tables, Query(SMALL)) == Answer(OK, 0x1234_5123)
    assert ask(driver, tables, Query(LARGE)) == Answer(OK, 0x2A1_2345)


def test_tables_outside_memory_are_no_page_fault(driver: Driver) -> None:
    tables = Tables()
    tables.put(Tables.PD, 2, 0x10_0000 | P | RW)
    assert ask(driver, tables, Query(SMALL)).result == UNSUPPORTED


def test_pse36_page(driver: Driver) -> None:
    memory = bytearray(PAGE)
    struct.pack_into("<I", memory, 0, 0x0040_0000 | 0xA5 << 13 | PS | P)
    query = Query(0x12345, efer=0, cr4=CR4_PSE, maxphyaddr=40)
    assert driver.translate(bytes(memory), [query]) == [Answer(OK, 0xA5_0041_2345)]
    narrow = replace(query, maxphyaddr=36)
    assert driver.translate(bytes(memory), [narrow]) == [Answer(FAULT, PF_P | PF_RSVD)]


def test_pae_uses_the_pdpte_registers(driver: Driver) -> None:
    """Memory at CR3 says not present; the loaded registers are what counts."""
    memory = bytearray(2 * PAGE)
    struct.pack_into("<Q", memory, PAGE + 8, 0x60_0000 | PS | P)
    query = Query(0xC020_0042, efer=0, pdpte=(0, 0, 0, PAGE | P))
    assert driver.translate(bytes(memory), [query]) == [Answer(OK, 0x60_0042)]
    assert driver.translate(bytes(memory), [replace(query, pdpte=None)]) == [Answer(FAULT, 0)]
