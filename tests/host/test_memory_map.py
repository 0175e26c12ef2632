"""Where the RAM of a memory map ends, against a byte-by-byte look at the map."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host import cbuild

pytestmark = pytest.mark.host

RAM = 1
TOP = 40
LAST = (1 << 64) - 1

Range = tuple[int, int, int]
Query = tuple[int, int, list[Range]]


def answers(queries: list[Query]) -> list[int]:
    """What memory_map_ram_end() says to (base, end, map)."""
    program = cbuild.build(
        "memory_map_driver", ("tests/host/c/memory_map_driver.c", "hypervisor/core/memory_map.c")
    )
    lines = []
    for base, end, ranges in queries:
        lines.append(f"{len(ranges):x} {base:x} {end:x}")
        lines += [f"{start:x} {length:x} {kind:x}" for start, length, kind in ranges]
    result = subprocess.run(
        [program], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60
    )
    return [int(line, 16) for line in result.stdout.split()]


def expected(query: Query) -> int:
    base, end, ranges = query
    for address in range(base, end):
        kinds = {kind for start, length, kind in ranges if start <= address < start + length}
        if kinds != {RAM}:
            return address
    return end


a_range = st.tuples(
    st.integers(0, TOP), st.integers(0, TOP), st.sampled_from([RAM, RAM, RAM, 2, 3, 0xF0])
)
a_query = st.tuples(st.integers(0, TOP), st.integers(0, TOP), st.lists(a_range, max_size=6)).map(
    lambda q: (min(q[:2]), max(q[:2]), q[2])
)


@settings(max_examples=100, deadline=None)
@given(st.lists(a_query, min_size=1, max_size=100))
def test_any_map(queries: list[Query]) -> None:
    assert answers(queries) == [expected(query) for query in queries]


def test_ends_of_the_address_space() -> None:
    assert answers(
        [
            (0x1000, LAST, [(0x1000, LAST, RAM)]),
            (0x1000, LAST, [(0, LAST, RAM), (LAST - 0xFFF, 0x1000, 2)]),
            (0x1000, 0x3000, [(0x2000, LAST, RAM), (0x1000, 0x1000, RAM)]),
            (0x1000, 0x3000, []),
        ]
    ) == [LAST, LAST - 0xFFF, 0x3000, 0x1000]
