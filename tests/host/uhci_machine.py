"""The machines of tests/host/c/dma_uhci_driver.c, and what a driver of UHCI does."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.host.dma_world import Reply, World, build_driver

USBCMD, USBSTS, FRNUM, FLBASEADD = 0x0, 0x2, 0x6, 0x8
RUN, HCRESET = 0x1, 0x2
HALTED = 0x20

TERMINATE, QUEUE, DEPTH = 0x1, 0x2, 0x4
ACTIVE, STALLED, IOC, SPD = 1 << 23, 1 << 22, 1 << 24, 1 << 29
THREE_ERRORS = 3 << 27
IN, OUT, SETUP = 0x69, 0xE1, 0x2D
ALL, SHORT, NAK, STALL, BABBLE, ERROR = range(6)

SHADOW_PHYS = 0x4030_0000


def build_uhci_machine() -> Path:
    """Build the C driver with the UHCI controllers; return the program."""
    return build_driver("dma_uhci_driver", ("dma_uhci_driver.c", "dma_uhci.c", "dma_pair.c"))


class UhciCounters(NamedTuple):
    """struct counters with struct dma_stats."""

    ram_writes: int
    stray_writes: int
    stray_reads: int
    ram_reads: int
    emitted_bytes: int
    direct_digest: int
    direct_transactions: int
    recorded_digest: int
    recorded_transactions: int
    doorbells: int
    completed: int
    rx_packets: int
    rx_bytes: int
    tx_bytes: int
    guest_faults: int
    clamped_lengths: int
    refused_writes: int


class UhciMachine(World):
    """The three machines with UHCI."""

    def start(self, *, shadow: int = 4 << 20, shadow_phys: int = SHADOW_PHYS) -> Reply:
        """Begin anew; `status` is dma_device_init's, `a` dma_shadow_minimum's."""
        return self.call("I", value=shadow, payload=shadow_phys.to_bytes(8, "little"))

    def write(self, reg: int, value: int, size: int = 2) -> bool:
        """Write a register in both machines; was it forwarded?"""
        return bool(self.call("w", reg=reg, value=value, size=size).a)

    def read(self, reg: int, size: int = 2) -> tuple[int, int]:
        """Read a register: what the guest gets in the direct and in the recorded machine."""
        reply = self.call("r", reg=reg, size=size)
        return reply.a, reply.b

    def results(self, results: Iterable[int]) -> None:
        """What becomes of the next transactions; of later ones: ALL."""
        self.call("a", payload=bytes(results))

    def frame(self, transactions: int = 20) -> None:
        """Let both controllers do a frame."""
        self.call("t", value=transactions)

    def recorded_frame(self, transactions: int = 20) -> None:
        """Let the controller of the recorded machine alone do a frame."""
        self.call("d", value=transactions)

    def let_frames_pass(self, pass_by: bool) -> None:
        """Whether a frame of both controllers passes before each read of the frame number."""
        self.call("p", value=pass_by)

    def finds_work(self) -> bool:
        """dma_finds_work."""
        return bool(self.call("f").status)

    def counters(self) -> UhciCounters:
        """Numbers since start()."""
        payload = self.call("s").payload
        return UhciCounters._make(struct.unpack(f"<{len(UhciCounters._fields)}Q", payload))

    def word(self, gpa: int) -> int:
        """A 32-bit word of the recorded machine's memory."""
        return int.from_bytes(self.load(gpa, 4), "little")

    def set_word(self, gpa: int, value: int) -> None:
        """Let the guest's CPU write a 32-bit word."""
        self.store(gpa, value.to_bytes(4, "little"))

    def assert_same(self) -> None:
        """The guest and the USB devices see what they would without the engine."""
        super().assert_same()
        counters = self.counters()
        assert counters.direct_digest == counters.recorded_digest
        assert counters.direct_transactions == counters.recorded_transactions


class Packet(NamedTuple):
    """One transfer descriptor's work."""

    pid: int
    buffer: int
    length: int


@dataclass
class Queue:
    """A queue of the driver's, with the dummy that ends it."""

    at: int
    dummy: int
    tds: list[int] = field(default_factory=list)


@dataclass
class UhciDriver:
    """A driver in the manner of Linux's: each queue ends in an inactive dummy.

    New work begins in the dummy, and is followed by another one.

    The frames lead to `queues` queues, one behind the other; with `reclaim` the last one leads back
    to the first.
    """

    machine: UhciMachine
    queues: int = 3
    reclaim: bool = False
    list: int = 0x4000
    queue_heads: int = 0x6000
    tds: int = 0x10000
    td_size: int = 32
    td_count: int = 1024

    def __post_init__(self) -> None:
        self._free = [self.tds + self.td_size * i for i in range(self.td_count)][::-1]
        self.queue = [Queue(self.queue_heads + 16 * i, self.take()) for i in range(self.queues)]
        for index, queue in enumerate(self.queue):
            after = self.queue[(index + 1) % self.queues].at | QUEUE
            if index + 1 == self.queues and not self.reclaim:
                after = TERMINATE
            self.machine.store(queue.dummy, struct.pack("<4I", TERMINATE, 0, 0, 0))
            self.machine.store(queue.at, struct.pack("<2I", after, queue.dummy))
        self.machine.store(self.list, struct.pack("<I", self.queue[0].at | QUEUE) * 1024)

    def up(self) -> None:
        """Start the controller."""
        self.machine.write(FLBASEADD, self.list, 4)
        self.machine.write(USBCMD, RUN)

    def take(self) -> int:
        """A free transfer descriptor: what was given back last comes first, as in Linux."""
        return self._free.pop()

    def submit(self, number: int, packets: list[Packet], *, flags: int = DEPTH) -> list[int]:
        """Append packets to a queue; their descriptors. The first one is activated last."""
        queue = self.queue[number]
        own = [queue.dummy, *(self.take() for _ in packets)]
        self.machine.store(own[-1], struct.pack("<4I", TERMINATE, 0, 0, 0))
        for index in reversed(range(len(packets))):
            self._write(own[index], own[index + 1] | flags, packets[index])
        queue.dummy = own[-1]
        queue.tds += own[:-1]
        return own[:-1]

    def _write(self, td: int, link: int, packet: Packet) -> None:
        token = ((packet.length - 1) & 0x7FF) << 21 | 1 << 8 | packet.pid
        self.machine.store(td, struct.pack("<I", link))
        self.machine.store(td + 8, struct.pack("<2I", token, packet.buffer))
        self.machine.set_word(td + 4, ACTIVE | THREE_ERRORS | SPD)

    def status(self, td: int) -> int:
        """The status of a descriptor, as the guest sees it."""
        return self.machine.word(td + 4)

    def clean(self, number: int) -> int:
        """Give back the descriptors of a queue that are done; those of a halted one all.

        Returns how many packets were done.
        """
        queue = self.queue[number]
        done = 0
        while queue.tds and not self.status(queue.tds[0]) & ACTIVE:
            element = self.machine.word(queue.at + 4) & ~0xF
            td = queue.tds.pop(0)
            done += 1
            if element == td:
                # Halted, or a packet was short: the rest is not to be done.
                self._free += [td, *queue.tds]
                queue.tds.clear()
                self.machine.set_word(queue.at + 4, queue.dummy)
                return done
            self._free.append(td)
        return done
