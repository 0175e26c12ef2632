"""The reference board itself: counter, memory file, serial lines, statistics, its ends."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvmm.board import Board, load_board
from lvmm.emulator import Emulator, Ending
from lvmm.errors import EnvironmentProblem, MachineError, UsageError

# One worker: they share what is made once.
pytestmark = [pytest.mark.emulated, pytest.mark.xdist_group(__name__)]

HERE = Path(__file__).parent
DEADLINE = 120.0  # seconds
START_TIME = 1_700_000_000

Report = list[tuple[str, list[int]]]


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board("bochs-vtx")


def build_image(source: Path, work: Path) -> Path:
    """A boot image with a test program; it boots as a CD and as a disk."""
    tree = work / "tree"
    (tree / "boot" / "grub").mkdir(parents=True)
    subprocess.run(
        [
            *("gcc", "-m32", "-O1", "-ffreestanding", "-fno-pic", "-fno-pie", "-no-pie"),
            *("-fno-stack-protector", "-mgeneral-regs-only", "-fcf-protection=none"),
            *("-fno-asynchronous-unwind-tables", "-Wall", "-Wextra", "-Werror", "-nostdlib"),
            *("-static", "-Wl,-e,start,-Ttext-segment=0x100000,--build-id=none,-z,norelro"),
            *(str(source), "-o", str(tree / "boot" / "probe")),
        ],
        check=True,
    )
    (tree / "boot" / "grub" / "grub.cfg").write_text(
        "set timeout=0\nmenuentry probe { multiboot /boot/probe }\n"
    )
    image = work / "probe.iso"
    subprocess.run(
        ["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", str(image), str(tree)],
        check=True,
        capture_output=True,
    )
    return image


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_image(HERE / "board_probe.c", tmp_path_factory.mktemp("probe"))


def wait_for(emulator: Emulator, text: str) -> None:
    """Wait until the console shows `text`."""
    deadline = time.monotonic() + DEADLINE
    while text not in emulator.console_path.read_text(errors="replace"):
        assert emulator.poll() is None, emulator.failure()
        assert time.monotonic() < deadline, emulator.console_path.read_text(errors="replace")
        time.sleep(0.02)


def receive(line: socket.socket, length: int) -> bytes:
    data = b""
    line.settimeout(DEADLINE)
    while len(data) < length:
        chunk = line.recv(length - len(data))
        assert chunk, f"the line closed after {len(data)} of {length} bytes"
        data += chunk
    return data


def run_probe(emulator: Emulator, payload: bytes = b"x") -> Report:
    """Run the probe to its end; return what it reported."""
    wait_for(emulator, "memory\n")
    emulator.monitor.sendall(len(payload).to_bytes(4, "little") + payload)
    assert receive(emulator.monitor, len(payload)) == payload
    return finish(emulator)


def finish(emulator: Emulator) -> Report:
    """Wait for the power-off; return what the program reported."""
    assert emulator.wait(DEADLINE) is Ending.POWER_OFF, emulator.failure()
    report = []
    for line in emulator.console_path.read_text().splitlines():
        name, *values = line.split()
        report.append((name, [int(value, 16) for value in values]))
    assert report[-1][0] == "bye"
    return report


def values(report: Report, name: str) -> list[list[int]]:
    return [numbers for key, numbers in report if key == name]


@pytest.fixture(scope="module")
def finished(
    board: Board, image: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Emulator, Report, bytes]]:
    """One complete run, its report, and the bytes that went over the monitor line."""
    payload = bytes(range(256)) + b"\x03" * 3 + random.Random(1).randbytes(12_000)
    run = tmp_path_factory.mktemp("finished")
    with Emulator(board, iso=image, run_dir=run, seed=1, start_time=START_TIME) as emulator:
        yield emulator, run_probe(emulator, payload), payload


def test_counts_every_conditional_branch_once(
    finished: tuple[Emulator, Report, bytes],
) -> None:
    report = finished[1]
    # The two in wrmsr/rdmsr brackets: none. Read live, then stopped, then by its other name.
    assert values(report, "count") == [[1000, 1000, 1000]]
    assert values(report, "count_icelake") == [[12345, 12345, 12345]]
    assert values(report, "count_other") == [[0, 0, 0]]


def test_counter_writes(finished: tuple[Emulator, Report, bytes]) -> None:
    report = finished[1]
    assert values(report, "sign_extended") == [[0xFFFF_FFFF_FE0C]]
    assert values(report, "full_width") == [[0x8000_1234_5678]]
    assert values(report, "read_only") == [[0, 0x3000]]


def test_breakpoints_behind_linked_branches(finished: tuple[Emulator, Report, bytes]) -> None:
    assert values(finished[1], "breakpoints") == [[100]]


def test_level_triggered_interrupts(finished: tuple[Emulator, Report, bytes]) -> None:
    assert values(finished[1], "level_triggered") == [[3, 3]]


def test_overflow_interrupts_within_the_margin(
    board: Board, finished: tuple[Emulator, Report, bytes]
) -> None:
    skids = set()
    for distance, loops, nmis, iteration, status, lvt, counter in values(finished[1], "overflow"):
        assert (nmis, status) == (1, 1)
        assert lvt == 0x10400, "delivery sets the mask bit"
        # At overflow the counter stands at 0; it counts on until it is stopped.
        assert counter == loops - distance
        # The handler may run one iteration into the loop: its counter is written before the branch.
        skid = iteration - distance
        if loops > distance + board.emulator.skid_margin:
            skids.add(skid)
            assert 0 <= skid <= board.emulator.skid_margin
        else:
            assert iteration in (distance, loops), "stopped: the pending interrupt came at once"
    assert len(skids) > 10, "the skid varies"


def test_counter_in_vmx_operation(board: Board, tmp_path: Path) -> None:
    image = build_image(HERE / "board_probe_vmx.c", tmp_path / "build")
    with Emulator(board, iso=image, run_dir=tmp_path / "run", seed=3) as emulator:
        report = finish(emulator)
        stats = emulator.stats()
    assert {name for name, _numbers in report} == {"exact", "overflow", "bye"}
    ((rounds, expected, counted, wrong),) = values(report, "exact")
    assert (counted, wrong) == (expected, 0)

    margin = board.emulator.skid_margin
    in_guest = in_host = 0
    for distance, loops, reason, event, host_nmis, done, counter in values(report, "overflow"):
        assert counter == done - distance
        if reason == 0:  # the interrupt met the guest: VM exit, vector 2, type NMI
            assert (event, host_nmis) == (0x8000_0202, 0)
            assert 0 <= done - distance <= margin
            in_guest += 1
        else:  # a VMCALL came before: the interrupt met the host
            assert (reason, host_nmis, done) == (18, 1, loops)
            in_host += 1
    assert in_guest >= 40
    assert in_host >= 15
    assert stats.exits == {0: in_guest, 18: rounds + in_host + in_guest}
    assert expected < stats.guest_instructions < 3 * stats.branches


def test_skid_follows_the_seed(
    board: Board, image: Path, tmp_path: Path, finished: tuple[Emulator, Report, bytes]
) -> None:
    reports = {}
    for seed in (1, 2):
        with Emulator(
            board, disk=image, run_dir=tmp_path / str(seed), seed=seed, start_time=START_TIME
        ) as emulator:
            reports[seed] = values(run_probe(emulator), "overflow")
    assert reports[1] == values(finished[1], "overflow"), "the same, booted as a disk"
    assert reports[1] != reports[2]


def test_memory_file_shows_physical_memory(finished: tuple[Emulator, Report, bytes]) -> None:
    emulator = finished[0]
    for address, value in (
        (0x0020_0FF8, 0x1122_3344_5566_7788),
        (0x3000_1000, 0x8877_6655_4433_2211),
        (0x53FF_FFF8, 0xA5A5_A5A5_5A5A_5A5A),
    ):
        assert emulator.read_ram(address, 8) == value.to_bytes(8, "little")
    # The multiboot header of the probe, at its link address.
    assert b"\x02\xb0\xad\x1b" in emulator.read_ram(0x10_0000, 8192)
    with pytest.raises(ValueError):
        emulator.read_ram(emulator.board.memory.total_bytes - 4, 8)
    size = emulator.ram_path.stat().st_blocks * 512
    assert size < 100 << 20, "the file is sparse"


def test_statistics(finished: tuple[Emulator, Report, bytes]) -> None:
    emulator, report, _payload = finished
    stats = emulator.stats()
    assert stats.resets == 1
    assert stats.overflows == stats.overflow_nmis == len(values(report, "overflow"))
    counted = 1000 + 12345 + sum(row[1] for row in values(report, "overflow"))
    assert stats.branches == counted
    assert 10_000_000 < stats.host_instructions <= stats.ticks
    assert stats.guest_instructions == 0
    assert stats.exits == {}


def test_dies_with_its_parent(board: Board, image: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from lvmm.board import load_board; from lvmm.emulator import Emulator\n"
        "e = Emulator(load_board('bochs-vtx'), iso=Path(sys.argv[1]), run_dir=Path(sys.argv[2]))\n"
        "e.start(); print(e.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(image), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout
    child = int(parent.stdout.readline())  # the emulator's process id
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                return  # dead; its new parent has not collected it yet
        except FileNotFoundError:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the emulator outlived its parent")


def test_killed_emulator_keeps_memory_and_statistics(
    board: Board, image: Path, tmp_path: Path
) -> None:
    with Emulator(board, iso=image, run_dir=tmp_path) as emulator:
        wait_for(emulator, "memory\n")
        os.kill(emulator.pid, signal.SIGKILL)
        assert emulator.wait(10) is Ending.FAILED
        assert "killed by SIGKILL" in str(emulator.failure())
        assert emulator.read_ram(0x3000_1000, 8) == 0x8877_6655_4433_2211.to_bytes(8, "little")
        assert emulator.stats().overflow_nmis == 60


def test_bad_set_up_is_told(board: Board, image: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no boot image"):
        Emulator(board, iso=tmp_path / "none.iso", run_dir=tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 0))
        port = taken.getsockname()[1]
        emulator = Emulator(board, iso=image, run_dir=tmp_path, net_port=port)
        with pytest.raises(EnvironmentProblem, match=f"UDP port {port}"):
            emulator.start()


def test_unknown_cpu_model_is_quoted(image: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "boards" / "bochs-vtx.toml").read_text()
    (tmp_path / "odd.toml").write_text(
        text.replace("bochs-vtx", "odd").replace("corei7_skylake_x", "no_such_cpu")
    )
    emulator = Emulator(load_board("odd", tmp_path), iso=image, run_dir=tmp_path / "run")
    with pytest.raises(MachineError, match="wrong value for parameter 'model'"):
        emulator.start()
    shutil.rmtree(tmp_path / "run")
