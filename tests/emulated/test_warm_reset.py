"""What a machine that is reset keeps: the log of the crash, until somebody says that it may go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.emulated.machine import BOARD, RECORD_TIMEOUT_S, tiny

from lvmm import cli, guest_build, provision, recording_dir, rescue, session
from lvmm.guest import Guest
from lvmm.logs import Recording
from lvmm.machine_run import RunOptions, RunResult, run_machine

pytestmark = [pytest.mark.emulated, pytest.mark.xdist_group(__name__)]

RESCUE_TIMEOUT_S = 400.0
MODULE_BYTES = 40 << 20  # more than GRUB's disk cache, which so grows to its full size


@dataclass(frozen=True)
class Crashed:
    """A machine whose power was cut after the guest's triple fault; `log` is what was recorded."""

    ram: Path
    recording_id: str
    events: int
    log: bytes

    def region(self) -> bytes:
        return region_in(self.ram)


def region_in(ram: Path) -> bytes:
    with ram.open("rb") as file:
        file.seek(BOARD.memory.log_base)
        return file.read(BOARD.memory.log_bytes)


def log_in(source: Path, folder: Path) -> bytes:
    """The log that extract_log.py finds in a source; all of it must be there."""
    with Recording.open(source) as recording:
        assert recording.losses == []
        recording.save(folder / "extracted.lvmm")
    return (folder / "extracted.lvmm").read_bytes()


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Crashed:
    folder = tmp_path_factory.mktemp("crashed")
    image = folder / "boot.img"
    session.monitor_image(BOARD, tiny("selfmod"), "record", image)
    run = run_machine(BOARD, image, folder / "run", RunOptions(deadline_s=RECORD_TIMEOUT_S))
    assert run.report.reason == "triple-fault", run.report.lines
    ram = folder / "run" / "ram.img"
    with Recording.open(ram) as recording:
        facts = f"{recording.recording_id:016x}", recording.event_count
    return Crashed(ram, *facts, log_in(ram, folder))


def reset(
    crashed: Crashed, image: Path, folder: Path, options: RunOptions | None = None
) -> RunResult:
    """Boots an image on the machine, whose memory is as the crash left it: folder/ram.img."""
    recording_dir.copy_file(crashed.ram, folder / "ram.img")
    options = options or RunOptions(deadline_s=RECORD_TIMEOUT_S)
    return run_machine(BOARD, image, folder, replace(options, warm=True))


def assert_refused(crashed: Crashed, run: RunResult, ram: Path) -> None:
    assert run.error is None, run.error
    assert run.report.reason == "error", run.report.lines
    assert not run.report.running
    said = run.report.last_text()
    assert f"recording {crashed.recording_id} ({crashed.events} events, " in said
    assert f"overwrite={crashed.recording_id} " in said
    # Neither by the monitor nor by GRUB.
    assert region_in(ram) == crashed.region()


def test_permission_for_another_recording(crashed: Crashed, tmp_path: Path) -> None:
    image = tmp_path / "boot.img"
    session.monitor_image(BOARD, tiny("hello"), "record", image, words={"overwrite": "123"})
    run = reset(crashed, image, tmp_path / "run")
    assert_refused(crashed, run, tmp_path / "run" / "ram.img")


def test_a_region_whose_header_is_damaged(crashed: Crashed, tmp_path: Path) -> None:
    """The chunks behind it are not overwritten either."""
    image = tmp_path / "boot.img"
    session.monitor_image(BOARD, tiny("hello"), "record", image)
    damaged = tmp_path / "damaged"
    recording_dir.copy_file(crashed.ram, damaged)
    with damaged.open("r+b") as file:
        file.seek(BOARD.memory.log_base)
        file.write(b"\xff" * 64)
    run = reset(replace(crashed, ram=damaged), image, tmp_path / "run")
    assert run.report.reason == "error", run.report.lines
    said = run.report.last_text()
    assert f"parts of a log, recording {crashed.recording_id}; the header of their" in said
    assert f"overwrite={crashed.recording_id} " in said
    ram = tmp_path / "run" / "ram.img"
    assert region_in(ram) == region_in(damaged)
    with Recording.open(ram) as recording:
        assert all(loss.events == 0 for loss in recording.losses)
        recording.save(tmp_path / "extracted.lvmm")
    assert (tmp_path / "extracted.lvmm").read_bytes() == crashed.log


def test_live_mode_and_a_large_module(crashed: Crashed, tmp_path: Path) -> None:
    """Live mode writes to the region too; and GRUB needs most memory for this image."""
    image = tmp_path / "boot.img"
    module = tmp_path / "module"
    module.write_bytes(b"m" * MODULE_BYTES)
    guest = Guest("multiboot", guest_build.tiny_guest("modules"), "", 64, (module,))
    session.monitor_image(BOARD, guest, "live", image)
    run = reset(crashed, image, tmp_path / "run")
    assert_refused(crashed, run, tmp_path / "run" / "ram.img")


def test_the_user_says_that_it_may_go(crashed: Crashed, tmp_path: Path) -> None:
    image = tmp_path / "boot.img"
    elf = guest_build.tiny_guest("hello")
    command = ["build", "--multiboot", str(elf), "--memory", "16", "-o", str(image)]
    assert cli.main([*command, "--overwrite", crashed.recording_id.upper()]) == 0
    run = reset(crashed, image, tmp_path / "run")
    assert run.report.reason == "halt", run.report.lines
    with Recording.open(tmp_path / "run" / "ram.img") as recording:
        assert f"{recording.recording_id:016x}" != crashed.recording_id
        assert recording.losses == []
        assert recording.end() is not None


def test_rescue_boot(crashed: Crashed, tmp_path: Path) -> None:
    # The small kernel, without the tests of its ciphers, is four times as fast here as the stock
    # one that ./lvmm rescue takes.
    image = tmp_path / "rescue.img"
    small = provision.kernel_package("small")
    rescue.rescue_image(BOARD, image, "cryptomgr.notests", kernel=small)
    options = RunOptions(as_disk=True, keep_disk=True, monitored=False, deadline_s=RESCUE_TIMEOUT_S)
    run = reset(crashed, image, tmp_path / "run", options)
    console = run.console.decode(errors="replace")
    assert run.error is None, run.error
    assert not run.timed_out, console
    assert f"lvmm: recording {crashed.recording_id}: {crashed.events} events" in console
    assert "read back and compared" in console
    # Linux has run, and has not touched the region.
    assert region_in(tmp_path / "run" / "ram.img") == crashed.region()
    assert log_in(image, tmp_path) == crashed.log
    with Recording.open(image) as recording:
        assert recording.region is not None
        used = recording.region.header.chunks_offset + recording.region.header.chunk_bytes
        with image.open("rb") as file:
            file.seek(recording.region.base)
            assert file.read(used) == crashed.region()[:used]
