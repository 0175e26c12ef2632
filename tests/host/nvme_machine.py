"""The machines of tests/host/c/dma_nvme_driver.c, and what a driver of NVMe does."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.host.dma_world import DiskWorld, Reply, build_driver

CAP, CC, AQA, ASQ, ACQ, DOORBELLS = 0x0, 0x14, 0x24, 0x28, 0x30, 0x1000
ENABLED = 0x46_0001  # entries of 64 and 16 bytes, pages of 4096
DELETE_SQ, CREATE_SQ, GET_LOG, DELETE_CQ, CREATE_CQ, IDENTIFY = 0x00, 0x01, 0x02, 0x04, 0x05, 0x06
SET_FEATURES, GET_FEATURES = 0x09, 0x0A
FLUSH, WRITE, READ, DATASET = 0x00, 0x01, 0x02, 0x09
BLOCKS = {1: 512, 2: 4096}  # bytes of a block of each namespace
PAGE = 4096
SHADOW_PHYS = 0x1_4030_0000
IDENTIFIED = 0x6000  # where drivers let Identify write


def build_nvme_machine() -> Path:
    """Build the C driver with the NVMe controllers; return the program."""
    return build_driver("dma_nvme_driver", ("dma_nvme_driver.c", "dma_nvme.c", "dma_pair.c"))


class NvmeMachine(DiskWorld):
    """The three machines with an NVMe controller each."""

    drives = 1

    def start(
        self, *, shadow: int = 8 << 20, shadow_phys: int = SHADOW_PHYS, stride: int = 0
    ) -> Reply:
        """Begin anew; `status` is dma_device_init's, `a` dma_shadow_minimum's."""
        payload = shadow_phys.to_bytes(8, "little")
        return self.call("I", value=shadow, reg=stride, payload=payload)

    def write(self, reg: int, value: int, size: int = 4) -> bool:
        """Write a register in both machines; was it forwarded?"""
        return bool(self.call("w", reg=reg, value=value, size=size).a)

    def read(self, reg: int) -> tuple[int, int]:
        """Read a register: what the guest gets in the direct and in the recorded machine."""
        reply = self.call("r", reg=reg, size=4)
        return reply.a, reply.b

    def give(self, data: bytes) -> None:
        """What the controllers give from now on, from the beginning at each command."""
        self.call("a", payload=data)

    def run(self, queue: int, command: int) -> tuple[bool, bool]:
        """Let the controllers carry out a command; which of the two had it?"""
        reply = self.call("t", port=queue, reg=command)
        return bool(reply.a), bool(reply.b)


class Completion(NamedTuple):
    """An entry of a completion queue."""

    result: int
    head: int
    queue: int
    command: int
    status: int


@dataclass
class Queue:
    """A submission queue and the completion queue of the same number."""

    submissions: int
    completions: int
    size: int
    tail: int = 0
    head: int = 0
    phase: int = 1


def command(
    opcode: int,
    number: int,
    *,
    namespace: int = 0,
    pages: tuple[int, int] = (0, 0),
    dwords: tuple[int, ...] = (),
    flags: int = 0,
) -> bytes:
    """A submission queue entry; `dwords` are from command dword 10 on."""
    head = struct.pack("<BBHI16xQQ", opcode, flags, number, namespace, *pages)
    return (head + struct.pack(f"<{len(dwords)}I", *dwords)).ljust(64, b"\0")


@dataclass
class NvmeDriver:
    """A driver in the order of the specification's section 3.5.1."""

    machine: NvmeMachine
    stride: int = 4  # bytes between doorbells
    admin_size: int = 16
    queues: dict[int, Queue] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 0x10000)))

    def up(self) -> None:
        """Set up the admin queue and enable the controller."""
        m = self.machine
        self.queues = {0: Queue(0x4000, 0x5000, self.admin_size)}
        m.store(0x5000, bytes(PAGE))
        m.write(CC, 0)
        m.write(AQA, (self.admin_size - 1) << 16 | (self.admin_size - 1))
        m.write(ASQ, 0x4000, size=8)
        m.write(ACQ, 0x5000)
        m.write(ACQ + 4, 0)
        m.write(CC, ENABLED)

    def put(self, queue: int, entry: bytes) -> None:
        """Write an entry, without the doorbell."""
        q = self.queues[queue]
        self.machine.store(q.submissions + 64 * q.tail, entry)
        q.tail = (q.tail + 1) % q.size

    def ring(self, queue: int) -> None:
        """Tell the controller of the entries."""
        self.machine.write(DOORBELLS + 2 * queue * self.stride, self.queues[queue].tail)

    def submit(
        self,
        queue: int,
        opcode: int,
        *,
        namespace: int = 0,
        pages: tuple[int, int] = (0, 0),
        dwords: tuple[int, ...] = (),
    ) -> int:
        """Write an entry and ring; return the command's identifier."""
        number = next(self.numbers)
        self.put(queue, command(opcode, number, namespace=namespace, pages=pages, dwords=dwords))
        self.ring(queue)
        return number

    def take(self, queue: int, *, acknowledge: bool = True) -> list[Completion]:
        """The completions that the recorded guest sees, and their doorbell."""
        q = self.queues[queue]
        found = []
        while True:
            at = q.completions + 16 * q.head
            result, head, of, number, status = struct.unpack("<I4xHHHH", self.machine.load(at, 16))
            if status & 1 != q.phase:
                break
            found.append(Completion(result, head, of, number, status >> 1))
            q.head = (q.head + 1) % q.size
            q.phase ^= q.head == 0
        if found and acknowledge:
            self.machine.write(DOORBELLS + (2 * queue + 1) * self.stride, q.head)
        return found

    def admin(
        self,
        opcode: int,
        *,
        namespace: int = 0,
        pages: tuple[int, int] = (0, 0),
        dwords: tuple[int, ...] = (),
    ) -> Completion:
        """Carry out one command of the admin queue."""
        number = self.submit(0, opcode, namespace=namespace, pages=pages, dwords=dwords)
        assert self.machine.run(0, number) == (True, True)
        self.machine.harvest()
        (completion,) = self.take(0)
        assert completion.command == number
        return completion

    def identify(self, namespace: int) -> Completion:
        """Identify a namespace, as whose blocks the engine does not know before."""
        return self.admin(IDENTIFY, namespace=namespace, pages=(IDENTIFIED, 0), dwords=(0,))

    def create(self, queue: int, size: int = 16, completions: int | None = None) -> list[int]:
        """Create the queues of a number; return the statuses."""
        q = Queue(0x10000 + 0x4000 * queue, 0x30000 + 0x1000 * queue, size)
        statuses = []
        if completions is None:
            self.machine.store(q.completions, bytes(PAGE))
            sizes = (size - 1) << 16 | queue
            done = self.admin(CREATE_CQ, pages=(q.completions, 0), dwords=(sizes, 1))
            statuses.append(done.status)
        of = queue if completions is None else completions
        done = self.admin(
            CREATE_SQ,
            pages=(q.submissions, 0),
            dwords=((size - 1) << 16 | queue, of << 16 | 1),
        )
        self.queues[queue] = q
        return [*statuses, done.status]

    def delete(self, queue: int) -> list[int]:
        """Delete the queues of a number; return the statuses."""
        return [self.admin(o, dwords=(queue,)).status for o in (DELETE_SQ, DELETE_CQ)]

    def ready(self, *queues: int, size: int = 16) -> None:
        """Identify the namespaces and create queues."""
        for namespace in BLOCKS:
            assert self.identify(namespace).status == 0
        for queue in queues:
            assert self.create(queue, size) == [0, 0]

    def pages(self, addresses: list[int], lists: int = 0xC0000) -> tuple[int, int]:
        """The two fields for pages at these addresses; the list, if there is one, is at `lists`.

        The last entry of a page of the list leads to the next page.
        """
        if len(addresses) <= 2:
            return addresses[0], addresses[1] if len(addresses) == 2 else 0
        at = lists
        for number, address in enumerate(addresses[1:], 1):
            if at % PAGE == PAGE - 8 and number < len(addresses) - 1:
                self.machine.store(at, struct.pack("<Q", at + 8 + PAGE))
                at += 8 + PAGE
            self.machine.store(at, struct.pack("<Q", address))
            at += 8
        return addresses[0], lists

    def transfer(
        self, queue: int, opcode: int, addresses: list[int], blocks: int, *, namespace: int = 1
    ) -> int:
        """Submit a read or write of so many blocks; returns the command's identifier."""
        return self.submit(
            queue,
            opcode,
            namespace=namespace,
            pages=self.pages(addresses),
            dwords=(0, 0, blocks - 1),
        )
