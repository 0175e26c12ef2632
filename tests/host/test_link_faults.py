"""The debug link over lines that damage, lose, repeat and delay what is sent, and that close."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.link_machine import (
    MEMORY_BASE,
    MEMORY_SIZE,
    TIMING,
    Fault,
    Lines,
    LinkMachine,
    faults,
)

from lvmm.link import LinkClient, LinkClosed, Register, RequestRefused

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def running() -> Iterator[LinkMachine]:
    with LinkMachine() as machine:
        yield machine


@dataclasses.dataclass
class Model:
    """What the machine must look like; it grows by requests that surely were carried out once."""

    steps: int = 0
    writes: int = 0
    rax: int = 0
    memory: bytearray = dataclasses.field(default_factory=lambda: bytearray(MEMORY_SIZE))

    def request(self, link: LinkClient, kind: str, value: int) -> None:
        """Makes a request and checks what it gives."""
        offset = value % (MEMORY_SIZE - 4000)
        match kind:
            case "step":
                self.steps += 1
                link.step()
            case "write":
                data = bytes((value + i) & 0xFF for i in range(value % 4000 + 1))
                self.memory[offset : offset + len(data)] = data
                self.writes += 1
                link.write_memory(MEMORY_BASE + offset, data)
            case "read":
                data = link.read_memory(MEMORY_BASE + offset, value % 4000)
                assert data == self.memory[offset : offset + value % 4000]
            case "set":
                self.rax = value
                self.writes += 1
                link.write_register(Register.RAX, value, force=True)
            case "get":
                assert link.read_registers().gpr[0] == self.rax
            case "refused":
                with pytest.raises(RequestRefused):
                    link.write_register(Register.RAX, 1)


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["step", "write", "read", "set", "get", "refused"]),
        st.integers(0, 1 << 20),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(REQUESTS, faults("flip", "drop", "duplicate", "insert", "truncate", "late"))
def test_everything_is_done_once_however_bad_the_line(
    running: LinkMachine, requests: list[tuple[str, int]], what_happens: list[Fault]
) -> None:
    running.reset()
    model = Model()
    with LinkClient(Lines(running, what_happens), timing=TIMING) as link:
        for kind, value in requests:
            model.request(link, kind, value)
        counts = running.counts()
        assert (counts.steps, counts.writes) == (model.steps, model.writes)
        assert link.read_memory(MEMORY_BASE, MEMORY_SIZE) == model.memory


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8),
    faults("flip", "drop", "duplicate", "insert", "truncate", "late", "close", "close"),
)
def test_a_line_that_closes_is_opened_again(
    running: LinkMachine, steps: int, what_happens: list[Fault]
) -> None:
    running.reset()
    surely = perhaps = 0
    with LinkClient(Lines(running, what_happens), timing=TIMING) as link:
        for _ in range(steps):
            try:
                link.step()
                surely += 1
            except LinkClosed:
                perhaps += 1
        assert surely <= running.counts().steps <= surely + perhaps
        while True:  # until the faults are used up
            try:
                assert link.status().stop_count == running.counts().steps
                break
            except LinkClosed:
                pass
