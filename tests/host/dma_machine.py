"""The machines of tests/host/c/dma_driver.c, and a network driver that works as Linux's e1000.

The driver's structure (batched refill, one unused descriptor, polling the done bit of the last
descriptor of a packet) follows drivers/net/ethernet/intel/e1000 of Linux 6.1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.host.dma_world import Reply, World, build_driver

# Registers of the 8254x.
CTRL, CTRL_RST = 0x0, 1 << 26
ICR = 0xC0
RCTL, RCTL_EN, RCTL_SECRC = 0x100, 1 << 1, 1 << 26
TCTL, TCTL_EN = 0x400, 1 << 1
RDBAL, RDBAH, RDLEN, RDH, RDT = 0x2800, 0x2804, 0x2808, 0x2810, 0x2818
TDBAL, TDBAH, TDLEN, TDH, TDT = 0x3800, 0x3804, 0x3808, 0x3810, 0x3818
RCTL_SIZES = {
    2048: 0,
    1024: 1 << 16,
    512: 2 << 16,
    256: 3 << 16,
    16384: 1 << 25 | 1 << 16,
    8192: 1 << 25 | 2 << 16,
    4096: 1 << 25 | 3 << 16,
}

E1000E, IGB = 2, 3
"""Kinds of NICs, beside the 82540EM (enum nic_kind)."""

# Bits of descriptors.
DD, EOP = 0x01, 0x02
TX_EOP, TX_TSE, TX_RS, TX_DEXT = 1 << 24, 1 << 26, 1 << 27, 1 << 29
TX_DATA = 1 << 20


def build_machine() -> Path:
    """Build the C driver with the NICs; return the program."""
    return build_driver("dma_driver", ("dma_driver.c", "dma_nic.c"))


class Counters(NamedTuple):
    """struct counters with struct dma_stats."""

    ram_writes: int
    stray_writes: int
    stray_reads: int
    ram_reads: int
    emitted_bytes: int
    direct_frames: int
    direct_digest: int
    recorded_frames: int
    recorded_digest: int
    recorded_bytes: int
    doorbells: int
    completed: int
    rx_packets: int
    rx_bytes: int
    tx_bytes: int
    guest_faults: int
    clamped_lengths: int
    refused_writes: int


_COUNTERS = struct.Struct("<18Q")


class Machine(World):
    """The three machines with a NIC."""

    reads_in_place = True  # what is sent

    def start(
        self,
        *,
        toy: bool = False,
        kind: int | None = None,
        shadow: int = 2 << 20,
        shadow_phys: int | None = None,
        reset_keeps: bool = False,
        sent_max: int = 0,
    ) -> Reply:
        """Begin anew; `status` is dma_device_init's, `a` dma_shadow_minimum's.

        kind: E1000E or IGB. shadow: bytes of shadow memory. reset_keeps: the NIC's reset leaves its
        registers. sent_max: bytes of each transmitted frame that the engine tells.
        """
        if shadow_phys is None:
            shadow_phys = 0x4000_0000 if toy else 0x1_C000_0000
        more = shadow_phys.to_bytes(8, "little") + sent_max.to_bytes(4, "little")
        return self.call(
            "I", size=reset_keeps, reg=toy if kind is None else kind, value=shadow, payload=more
        )

    def write(self, reg: int, value: int, size: int = 4) -> Reply:
        """Write a register in both machines; `a`: was it forwarded, `b`: the value for that."""
        return self.call("w", reg=reg, value=value, size=size)

    def read(self, reg: int, size: int = 4) -> tuple[int, int]:
        """Read a register: what the guest gets in the direct and in the recorded machine."""
        reply = self.call("r", reg=reg, size=size)
        return reply.a, reply.b

    def port_write(self, port: int, value: int, size: int = 4) -> Reply:
        """As write(), at an offset in the I/O BAR."""
        return self.call("p", port=port, value=value, size=size)

    def port_read(self, port: int, size: int = 4) -> tuple[int, int]:
        """As read(), at an offset in the I/O BAR."""
        reply = self.call("q", port=port, size=size)
        return reply.a, reply.b

    def frame(self, data: bytes) -> None:
        """Let a frame arrive at both NICs."""
        self.call("f", payload=data)

    def transmit(self, descriptors: int = 1 << 16, *, defer: bool = False) -> None:
        """Let the NICs work on transmit descriptors; defer: hold back their write-backs."""
        self.call("t", reg=descriptors, size=defer)

    def flush(self) -> None:
        """Let the NICs do the write-backs that they hold back."""
        self.call("u")

    def corrupt(self, data: bytes, *, rx: bool) -> None:
        """Let the recorded NIC write data over the descriptor at its head, after the address."""
        self.call("d", size=rx, payload=data)

    def counters(self) -> Counters:
        """Numbers since start()."""
        return Counters._make(_COUNTERS.unpack(self.call("s").payload))

    def assert_same(self) -> None:
        """After a harvest, the guest sees what a direct device would have done."""
        super().assert_same()
        counters = self.counters()
        assert counters.direct_frames == counters.recorded_frames
        assert counters.direct_digest == counters.recorded_digest
        assert counters.refused_writes == 0


@dataclass
class E1000Driver:
    """A driver of the model NIC. Addresses are guest physical, sizes in bytes."""

    machine: Machine
    rx_count: int = 16
    tx_count: int = 16
    buffer_size: int = 2048
    rx_ring: int = 0x1000
    tx_ring: int = 0x8000
    rx_buffers: int = 0xC0000
    tx_buffers: int = 0x10000
    strip_crc: bool = False
    rx_spacing: int = 0
    """Between receive buffers; 0: a little more than the buffer size, so that pages are crossed."""

    def __post_init__(self) -> None:
        self.rx_spacing = self.rx_spacing or self.buffer_size + 2
        self.rx_use = self.rx_clean = 0
        self.tx_use = self.tx_clean = 0
        self.tx_watch: dict[int, int] = {}
        self.received: list[bytes] = []
        self._partial = b""

    def up(self) -> None:
        """Reset the NIC, set up the rings, enable them, and give all receive buffers."""
        m = self.machine
        m.write(RCTL, 0)
        m.write(TCTL, 0)
        m.port_write(0, CTRL)
        m.port_write(4, CTRL_RST)
        m.store(self.rx_ring, bytes(16 * self.rx_count))
        m.store(self.tx_ring, bytes(16 * self.tx_count))
        rctl = RCTL_SIZES[self.buffer_size] | (RCTL_SECRC if self.strip_crc else 0)
        m.write(RCTL, rctl)
        m.write(TDLEN, 16 * self.tx_count)
        m.write(TDBAH, self.tx_ring >> 32)
        m.write(TDBAL, self.tx_ring & 0xFFFF_FFFF)
        m.write(TDT, 0)
        m.write(TDH, 0)
        m.write(TCTL, TCTL_EN)
        m.write(RDLEN, 16 * self.rx_count)
        m.write(RDBAH, self.rx_ring >> 32)
        m.write(RDBAL, self.rx_ring & 0xFFFF_FFFF)
        m.write(RDT, 0)
        m.write(RDH, 0)
        m.write(RCTL, rctl | RCTL_EN)
        self.rx_use = self.rx_clean = self.tx_use = self.tx_clean = 0
        self.tx_watch.clear()
        self._partial = b""
        self.refill(self.rx_count)

    def down(self) -> None:
        """Stop and reset the NIC, then write the ring registers as the Linux driver does."""
        m = self.machine
        m.write(RCTL, 0)
        m.write(TCTL, 0)
        m.port_write(0, CTRL)
        m.port_write(4, CTRL_RST)
        m.store(self.rx_ring, bytes(16 * self.rx_count))
        m.write(RDH, 0)
        m.write(RDT, 0)
        m.write(TDH, 0)
        m.write(TDT, 0)

    def refill(self, most: int) -> None:
        """Give up to `most` receive buffers to the NIC, with one doorbell."""
        given = min(most, (self.rx_clean - self.rx_use - 1) % self.rx_count)
        for _ in range(given):
            address = self.rx_buffers + self.rx_use * self.rx_spacing
            # Only the address: the status was cleared when the packet was taken.
            self.machine.store(self.rx_ring + 16 * self.rx_use, address.to_bytes(8, "little"))
            self.rx_use = (self.rx_use + 1) % self.rx_count
        if given:
            self.machine.write(RDT, self.rx_use)

    def poll(self) -> int:
        """Take received frames; return the number of descriptors."""
        taken = 0
        while True:
            where = self.rx_ring + 16 * self.rx_clean
            descriptor = self.machine.load(where, 16)
            status = descriptor[12]
            if not status & DD:
                return taken
            length = int.from_bytes(descriptor[8:10], "little")
            buffer = self.rx_buffers + self.rx_clean * self.rx_spacing
            self._partial += self.machine.load(buffer, length)
            if status & EOP:
                self.received.append(self._partial)
                self._partial = b""
            self.machine.store(where + 12, b"\0")
            self.rx_clean = (self.rx_clean + 1) % self.rx_count
            taken += 1

    def room(self) -> int:
        """Transmit descriptors that are free."""
        return (self.tx_clean - self.tx_use - 1) % self.tx_count

    def _describe(self, address: int, lower: int, upper: int = 0) -> None:
        where = self.tx_ring + 16 * self.tx_use
        self.machine.store(where, struct.pack("<QII", address, lower, upper))
        self.tx_use = (self.tx_use + 1) % self.tx_count

    def send(
        self, fragments: Sequence[bytes], *, context: bool = False, segment: bool = False
    ) -> bool:
        """Queue a packet, RS on its last descriptor alone; False: no room.

        context: with a context descriptor before it, and so in extended descriptors; segment: these
        ask for segmentation.
        """
        if self.room() < len(fragments) + context:
            return False
        first = self.tx_use
        if context:
            self._describe(0x2A22_0E00_1817_0E00, TX_DEXT | 0x1000)
        kind = TX_DEXT | TX_DATA if context else 0
        kind |= TX_TSE if segment else 0
        for i, fragment in enumerate(fragments):
            address = self.tx_buffers + self.tx_use * 0x800
            self.machine.store(address, fragment)
            last = TX_EOP | TX_RS if i == len(fragments) - 1 else 0
            self._describe(address, kind | last | len(fragment), 0x200)
        self.tx_watch[first] = (self.tx_use - 1) % self.tx_count
        self.machine.write(TDT, self.tx_use)
        return True

    def clean(self) -> int:
        """Free the packets whose last descriptor is done; return the number of packets."""
        packets = 0
        while self.tx_clean in self.tx_watch:
            last = self.tx_watch[self.tx_clean]
            if not self.machine.load(self.tx_ring + 16 * last + 12, 1)[0] & DD:
                break
            del self.tx_watch[self.tx_clean]
            self.tx_clean = (last + 1) % self.tx_count
            packets += 1
        return packets
