"""Page faults of stale TLB entries: the access is made again, once; others are the guest's.

The emulated CPU walks its tables anew where an entry permits too little, so that only real ones and
this model have such faults.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.cbuild import build

PRESENT, RESERVED, PAGE_FAULT = 1, 8, 14


@dataclasses.dataclass(frozen=True)
class Exit:
    """`permitted`: by the page tables as they are; `shuts_down`: what injecting comes to."""

    exception: bool
    vector: int
    error: int
    address: int
    rip: int
    permitted: bool
    shuts_down: bool


# Few values, so that the same fault comes twice in a row.
EXITS = st.lists(
    st.builds(
        Exit,
        st.sampled_from([True, True, True, False]),
        st.sampled_from([PAGE_FAULT, PAGE_FAULT, PAGE_FAULT, 1, 3]),
        st.sampled_from([0, 1, 2, 3, 5, 7, 0x11, 9]),
        st.sampled_from([0x1000, 1 << 63]),
        st.sampled_from([0, 0xFFFFFFFF81000000]),
        st.sampled_from([True, True, False]),
        st.booleans(),
    ),
    max_size=40,
)


def run(exits: Sequence[Exit]) -> list[str]:
    sources = ("tests/host/c/page_fault_driver.c", "hypervisor/core/page_fault.c")
    lines = [" ".join(str(int(value)) for value in dataclasses.astuple(fault)) for fault in exits]
    result = subprocess.run(
        [build("page_fault_driver", sources)],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return result.stdout.splitlines()


def expected(exits: Sequence[Exit]) -> list[str]:
    done: list[str] = []
    retried: tuple[int, int, int] | None = None  # by the exit before
    for fault in exits:
        this = (fault.rip, fault.address, fault.error)
        if not fault.exception or fault.vector != PAGE_FAULT or not fault.error & PRESENT:
            done.append("other")
            retried = None
        elif fault.permitted and not fault.error & RESERVED and this != retried:
            done.append("retry")
            retried = this
        else:
            done.append(f"inject {fault.address} {fault.error}{' end' if fault.shuts_down else ''}")
            retried = None
    return done


@settings(max_examples=40)
@given(EXITS)
def test_any_exits(exits: list[Exit]) -> None:
    assert run(exits) == expected(exits)


def test_no_access_is_made_again_for_ever() -> None:
    fault = Exit(True, PAGE_FAULT, 3, 0x1000, 0x2000, True, False)
    assert run([fault] * 4) == ["retry", "inject 4096 3"] * 2
