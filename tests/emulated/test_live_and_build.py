"""Live runs, and the boot image alone, started as a CD and as a disk."""

from pathlib import Path

import pytest
from tests.emulated.machine import BOARD, RECORD_TIMEOUT_S, tiny

from lvmm import cli, guest_build, session
from lvmm.machine_run import RunOptions, run_machine
from lvmm.session import RunSettings


@pytest.mark.parametrize("name", ["hello", "timer", "idle", "fpu"])
def test_live_run(name: str) -> None:
    shown = bytearray()
    settings = RunSettings(timeout_s=RECORD_TIMEOUT_S, console=shown.extend)
    result = session.live(BOARD, tiny(name), settings)
    assert result.report.reason in ("halt", "reset", "triple-fault")
    assert shown.endswith(b"\n")


@pytest.mark.parametrize("as_disk", [False, True], ids=["cd", "disk"])
def test_built_image_boots(tmp_path: Path, as_disk: bool) -> None:
    image = tmp_path / "boot.img"
    guest = guest_build.tiny_guest("hello")
    arguments = ["build", "--multiboot", str(guest), "--memory", "16", "-o", str(image)]
    assert cli.main(arguments) == 0
    options = RunOptions(as_disk=as_disk, deadline_s=RECORD_TIMEOUT_S)
    result = run_machine(BOARD, image, tmp_path / "run", options)
    assert result.error is None
    assert result.report.reason == "halt"
    assert result.report.events["RDTSC"] == 1
    assert result.console.startswith(b"hello from a guest")


def test_module_and_command_line_reach_a_multiboot_guest(tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.write_bytes(b"content of the module")
    image = tmp_path / "boot.img"
    guest = guest_build.tiny_guest("modules")
    arguments = ["build", "--multiboot", str(guest), "--append", "one two=2", "--memory", "16"]
    assert cli.main([*arguments, "--module", str(module), "-o", str(image)]) == 0
    options = RunOptions(deadline_s=RECORD_TIMEOUT_S)
    console = run_machine(BOARD, image, tmp_path / "run", options).console.decode()
    assert "one two=2" in console
    assert "module module: content of the module" in console
