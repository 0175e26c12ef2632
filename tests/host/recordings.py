"""Makes recording directories for tests, without a machine."""

from pathlib import Path

from lvmm import recording_dir
from lvmm.recording_dir import Manifest


def make_recording(directory: Path) -> Manifest:
    """A complete recording whose files hold anything but a recording."""
    (directory / "guest").mkdir(parents=True)
    for name in ("guest/guest.elf", "log.lvmm", "console.log", "memory.pages"):
        (directory / name).write_text(name)

    def entry(path: str) -> recording_dir.FileEntry:
        return recording_dir.describe_file(directory, path)

    manifest = Manifest(
        board="bochs-vtx",
        kind="multiboot",
        cmdline="",
        memory_mib=16,
        kernel=entry("guest/guest.elf"),
        extra=(),
        log=entry("log.lvmm"),
        console=entry("console.log"),
        pages=entry("memory.pages"),
        memory_sha256="0",
        end_reason="halt",
        branches=1,
        rip=2,
        events_total=3,
        events={"IN": 2, "END": 1},
        exits={},
        seed=4,
        wall_s=5.0,
        instructions=6,
        registers={},
        tool_version="0",
        monitor_sha256="0",
        kernel_name="hello.elf",
    )
    recording_dir.write_manifest(directory, manifest)
    return manifest
