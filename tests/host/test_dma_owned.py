"""Which buffers the DMA engine says that a device owns: from doorbell to harvest, stop or reset."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.host.ahci_machine import CMD, CMD_RECEIVE, AhciDriver, AhciMachine, build_ahci_machine
from tests.host.dma_machine import (
    CTRL,
    CTRL_RST,
    RCTL,
    RCTL_EN,
    E1000Driver,
    Machine,
    build_machine,
)
from tests.host.dma_world import World
from tests.host.ide_machine import IdeDriver, IdeMachine, Piece, build_ide_machine
from tests.host.nvme_machine import (
    CC,
    READ,
    WRITE,
    NvmeDriver,
    NvmeMachine,
    build_nvme_machine,
)

pytestmark = pytest.mark.host

FRAME = 1522  # of the buffer: no longer ones are received
LONG_PACKETS = 1 << 5  # RCTL.LPE


def spans(machine: World) -> list[tuple[int, int]]:
    """Address and length of each owned buffer."""
    return [(buffer.gpa, buffer.length) for buffer in machine.owned()]


@pytest.fixture
def nic() -> Iterator[Machine]:
    machine = Machine(build_machine())
    assert machine.start().status == 0
    yield machine
    machine.close()


def posted(driver: E1000Driver) -> list[tuple[int, int]]:
    """The buffers between the harvested descriptors and the tail."""
    owned = []
    index = driver.rx_clean
    while index != driver.rx_use:
        owned.append((driver.rx_buffers + index * driver.rx_spacing, FRAME))
        index = (index + 1) % driver.rx_count
    return sorted(owned)


def test_receive_ring(nic: Machine) -> None:
    driver = E1000Driver(nic)
    assert spans(nic) == []
    driver.up()
    draw = random.Random(1)
    assert len(spans(nic)) == 15
    for _ in range(40):
        for _ in range(draw.randrange(6)):
            nic.frame(draw.randbytes(draw.randrange(60, 1500)))
        nic.harvest()
        driver.poll()
        assert spans(nic) == posted(driver)
        driver.refill(draw.randrange(16))
        assert spans(nic) == posted(driver)
    assert driver.send([b"a" * 60])
    assert spans(nic) == posted(driver)


def test_longer_frames_need_the_whole_buffer(nic: Machine) -> None:
    driver = E1000Driver(nic)
    driver.up()
    nic.write(RCTL, 0)
    nic.write(RCTL, RCTL_EN | LONG_PACKETS)
    whole = [(address, 2048) for address, _ in posted(driver)]
    assert spans(nic) == whole
    nic.write(RCTL, RCTL_EN)
    nic.write(RCTL, 0)
    assert spans(nic) == []


def test_receive_ring_disabled_moved_and_reset(nic: Machine) -> None:
    driver = E1000Driver(nic)
    driver.up()
    nic.write(RCTL, 0)
    assert spans(nic) == []
    nic.frame(b"a" * 60)
    nic.write(RCTL, RCTL_EN)
    nic.frame(b"b" * 60)
    nic.harvest()
    driver.poll()
    assert spans(nic) == posted(driver)
    nic.port_write(0, CTRL)
    nic.port_write(4, CTRL_RST)
    assert spans(nic) == []
    driver.rx_buffers = 0x40000
    driver.up()
    assert spans(nic) == posted(driver)
    driver.down()
    assert spans(nic) == []


def test_channel() -> None:
    machine = IdeMachine(build_ide_machine())
    assert machine.start().status == 0
    driver = IdeDriver(machine)
    pieces = [Piece(0x20000, 4096), Piece(0x30000, 512)]
    machine.ask(0, bytes(4608))
    driver.begin(pieces, to_memory=True)
    assert spans(machine) == [(0x20000, 4096), (0x30000, 512)]
    machine.run(0)
    assert spans(machine) == [(0x20000, 4096), (0x30000, 512)]
    driver.status()
    assert spans(machine) == []
    driver.end()
    driver.begin(pieces, to_memory=False)
    assert spans(machine) == []
    driver.end()
    driver.begin(pieces, to_memory=True)
    driver.end()
    assert spans(machine) == []
    machine.close()


def test_lists_of_commands() -> None:
    machine = AhciMachine(build_ahci_machine())
    machine.start()
    driver = AhciDriver(machine)
    driver.up()
    driver.prepare(1, [Piece(0x40000, 4096)], to_memory=True)
    driver.prepare(2, [Piece(0x50000, 4096)], to_memory=False)
    driver.prepare(3, [Piece(0x60000, 1024)], to_memory=True)
    driver.issue(0xE)
    assert spans(machine) == [(0x40000, 4096), (0x60000, 1024)]
    machine.run(0, 1)
    machine.harvest()
    assert spans(machine) == [(0x60000, 1024)]
    machine.write(driver.register(CMD), CMD_RECEIVE)
    assert spans(machine) == []
    machine.close()


def test_queues_of_commands() -> None:
    machine = NvmeMachine(build_nvme_machine())
    machine.start()
    driver = NvmeDriver(machine)
    driver.up()
    driver.ready(1)
    assert spans(machine) == []
    number = driver.transfer(1, READ, [0x40E00, 0x50000], 8)
    driver.transfer(1, WRITE, [0x60000], 8)
    other = driver.transfer(1, READ, [0x70000], 1)
    assert spans(machine) == [(0x40E00, 512), (0x50000, 3584), (0x70000, 512)]
    machine.run(1, number)
    machine.harvest()
    assert spans(machine) == [(0x70000, 512)]
    driver.delete(1)
    assert spans(machine) == []
    assert machine.run(1, other) == (False, False)
    driver.create(1)
    driver.transfer(1, READ, [0x70000], 1)
    machine.write(CC, 0)
    assert spans(machine) == []
    machine.close()
