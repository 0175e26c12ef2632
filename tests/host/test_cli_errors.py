"""Bad input at the command line: one clear line on stderr and the documented exit code."""

import fcntl
import shutil
import socket
import struct
from pathlib import Path

import pytest
from tests.host.recordings import make_recording

from lvmm import cli, demo, guest_build, netpeer
from lvmm.logs.layout import CHUNK_MAGIC, FORMAT_VERSION


def fake_bzimage(path: Path, init_size: int = 1 << 20) -> Path:
    """A file with what is checked of a bzImage: boot signature, magic, version, flags, size."""
    head = bytearray(1024)
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x236, 1)
    struct.pack_into("<I", head, 0x260, init_size)
    path.write_bytes(head)
    return path


def fails(
    capsys: pytest.CaptureFixture[str], arguments: list[object], code: int, *words: str
) -> None:
    """Runs lvmm, which must end with `code` and one line on stderr that holds the words."""
    assert cli.main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("lvmm: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def hello() -> Path:
    return guest_build.tiny_guest("hello")


@pytest.fixture
def bzimage(tmp_path: Path) -> Path:
    return fake_bzimage(tmp_path / "bzImage")


Capture = pytest.CaptureFixture[str]


def test_file_that_is_no_kernel(capsys: Capture, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    fails(capsys, ["record", "--linux", text], 2, "not a Linux kernel")
    fails(capsys, ["record", "--multiboot", text], 2, "not a 32-bit ELF")


def test_elf_without_multiboot_header(capsys: Capture, tmp_path: Path, hello: Path) -> None:
    data = hello.read_bytes().replace(struct.pack("<I", 0x1BADB002), bytes(4))
    plain = tmp_path / "plain.elf"
    plain.write_bytes(data)
    fails(capsys, ["record", "--multiboot", plain], 2, "no multiboot header")


def test_cut_elf(capsys: Capture, tmp_path: Path, hello: Path) -> None:
    cut = tmp_path / "cut.elf"
    cut.write_bytes(hello.read_bytes()[:5000])
    fails(capsys, ["record", "--multiboot", cut], 2, "damaged")


def test_missing_files(capsys: Capture, tmp_path: Path, bzimage: Path) -> None:
    fails(capsys, ["record", "--linux", tmp_path / "no"], 2, "no such file")
    fails(capsys, ["record", "--linux", bzimage, "--initrd", tmp_path / "no"], 2, "no such file")
    fails(capsys, ["record", "--linux", tmp_path], 2, "not a file")


def test_memory_sizes(capsys: Capture, tmp_path: Path, bzimage: Path, hello: Path) -> None:
    fails(capsys, ["record", "--linux", bzimage, "--memory", "32"], 2, "too little memory")
    fails(capsys, ["record", "--linux", bzimage, "--memory", "9999"], 2, "at most")
    big = fake_bzimage(tmp_path / "big", init_size=200 << 20)
    fails(capsys, ["record", "--linux", big, "--memory", "100"], 2, "too little memory")
    fails(capsys, ["record", "--multiboot", hello, "--memory", "1"], 2, "too little memory")
    rep = guest_build.tiny_guest("paging")
    module = tmp_path / "module"
    module.write_bytes(bytes(3 << 20))
    arguments = ["record", "--multiboot", rep, "--module", module, "--memory", "3"]
    fails(capsys, arguments, 2, "too little memory")


def test_32_bit_kernel(capsys: Capture, tmp_path: Path, bzimage: Path) -> None:
    data = bytearray(bzimage.read_bytes())
    struct.pack_into("<H", data, 0x236, 0)
    bzimage.write_bytes(data)
    fails(capsys, ["record", "--linux", bzimage], 2, "not a 64-bit")


def test_unknown_board(capsys: Capture, bzimage: Path) -> None:
    fails(capsys, ["record", "--board", "nope", "--linux", bzimage], 2, "nope", "bochs-vtx")


def test_options_of_the_other_kind(capsys: Capture, bzimage: Path, hello: Path) -> None:
    fails(capsys, ["record", "--linux", bzimage, "--module", hello], 2, "--initrd")
    fails(capsys, ["record", "--multiboot", hello, "--initrd", bzimage], 2, "--module")


def test_boot_sectors(capsys: Capture, tmp_path: Path, bzimage: Path) -> None:
    sector = tmp_path / "sector"
    arguments = ["build", "-o", tmp_path / "image", "--boot-sector", sector]
    for content in (b"", b"\x55\xaa", bytes(511) + b"\xaa", bytes(510) + b"\xaa\x55"):
        sector.write_bytes(content)
        fails(capsys, arguments, 2, "not a boot sector")
    sector.write_bytes(bytes(510) + b"\x55\xaa" + bytes(512))
    fails(capsys, arguments, 2, "it has 1024 bytes")
    sector.write_bytes(bytes(510) + b"\x55\xaa")
    fails(capsys, [*arguments, "--memory", 1], 2, "too little memory")
    for option in (["--initrd", bzimage], ["--module", bzimage], ["--append", "word"]):
        fails(capsys, [*arguments, *option], 2, "--boot-sector takes no")
    sector.unlink()
    fails(capsys, arguments, 2, "no such file")


def test_disks(capsys: Capture, tmp_path: Path, bzimage: Path) -> None:
    disk = tmp_path / "disk.img"
    arguments = ["record", "-o", tmp_path / "recording", "--disk", disk]
    fails(capsys, arguments, 2, "no such file")
    disk.write_bytes(b"")
    fails(capsys, arguments, 2, "not a disk image", "0 bytes")
    disk.write_bytes(bytes(510) + b"\x55\xaa" + b"x")
    fails(capsys, arguments, 2, "not a disk image", "513 bytes")
    disk.write_bytes(bytes(1024))
    fails(capsys, arguments, 2, "cannot be booted", "55 AA")
    disk.write_bytes(bytes(510) + b"\x55\xaa")
    fails(capsys, arguments, 2, "too small for a disk", "516096")
    fails(capsys, [*arguments, "--memory", 1], 2, "too little memory")
    fails(capsys, [*arguments, "--as-disk"], 2, "--as-disk")
    for option in (["--initrd", bzimage], ["--module", bzimage], ["--append", "word"]):
        fails(capsys, [*arguments, *option], 2, "--disk takes no")
    fails(capsys, ["record", "--linux", bzimage, "--disk-write"], 2, "goes with --disk")
    assert not (tmp_path / "recording").exists()


def test_what_is_no_disk_on_usb_is_refused(capsys: Capture, tmp_path: Path, bzimage: Path) -> None:
    image = tmp_path / "stick.img"
    arguments = ["record", "-o", tmp_path / "recording", "--linux", bzimage, "--usb-disk"]
    fails(capsys, [*arguments, image], 2, f"no such file: {image}")
    fails(capsys, [*arguments, tmp_path], 2, f"not a file: {tmp_path}")
    for size in (0, 513):
        image.write_bytes(bytes(size))
        fails(capsys, [*arguments, image], 2, f"it has {size} bytes, which are no whole sectors")
    assert not (tmp_path / "recording").exists()


def test_command_line_of_two_lines(capsys: Capture, bzimage: Path) -> None:
    fails(capsys, ["record", "--linux", bzimage, "--append", "a\nb"], 2, "one line")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["record"],
        ["record", "--linux"],
        ["record", "--linux", "a", "--multiboot", "b"],
        ["record", "--multiboot", "a", "--boot-sector", "b"],
        ["record", "--multiboot", "a", "--disk", "b"],
        ["build", "-o", "a", "--disk", "disk.img"],
        ["build", "-o", "a", "--disk", "0x7f"],
        ["record", "--linux", "a", "--memory", "x"],
        ["record", "--linux", "a", "--memory", "-5"],
        ["record", "--linux", "a", "--net-port", "80"],
        ["record", "--linux", "a", "--gdb", "0"],
        ["live", "--linux", "a", "--gdb", "65536"],
        ["replay", "a", "--gdb", "port"],
        ["attach"],
        ["record", "--linux", "a", "--seed", "-1"],
        ["record", "--linux", "a", "--frobnicate"],
        ["replay"],
        ["build", "--linux", "a"],
        ["live", "--linux", "a", "--timeout", "-3"],
        ["live", "--linux", "a", "--timeout", "soon"],
        ["live", "--linux", "a", "--menu-timeout", "-1"],
        ["bench", "--frobnicate"],
        ["soak", "--runs", "0"],
        ["soak", "--jobs", "two"],
    ],
)
def test_wrong_arguments(capsys: Capture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lvmm: ")
    assert line.endswith("--help)")


def test_existing_output(capsys: Capture, tmp_path: Path, hello: Path) -> None:
    fails(capsys, ["record", "--multiboot", hello, "-o", tmp_path], 2, "exists already")


def test_port_in_use(capsys: Capture, tmp_path: Path, hello: Path) -> None:
    port = netpeer.free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", port))
        output = tmp_path / "r"
        arguments = ["record", "--multiboot", hello, "--net-port", port, "-o", output]
        fails(capsys, arguments, 1, str(port), "in use")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--gdb", "--attach"])
def test_debugger_port_in_use(capsys: Capture, tmp_path: Path, hello: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        guest = ["--multiboot", hello, "--memory", 16, option, port]
        fails(capsys, ["live", *guest], 1, str(port), "in use", option)
        fails(capsys, ["record", *guest, "-o", tmp_path / "r"], 1, str(port), "in use")
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_no_debugger(capsys: Capture, hello: Path) -> None:
    for option in ("--wait", "--no-wait"):
        fails(capsys, ["live", "--multiboot", hello, option], 2, "--gdb PORT")


def test_full_disk(
    capsys: Capture, tmp_path: Path, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    arguments = ["record", "--multiboot", hello, "-o", tmp_path / "r"]
    fails(capsys, arguments, 1, "disk full")
    assert list(tmp_path.iterdir()) == []


def test_recordings_of_another_version(capsys: Capture, tmp_path: Path) -> None:
    """Whatever is wanted of the replay: the version is what stands in the way."""
    directory = tmp_path / "r"
    make_recording(directory)
    log = directory / "log.lvmm"
    log.write_bytes(CHUNK_MAGIC.to_bytes(4, "little") + (FORMAT_VERSION - 1).to_bytes(2, "little"))
    said = [f"format version {FORMAT_VERSION - 1}", f"replays version {FORMAT_VERSION}"]
    for options in ([], ["--json"], ["--gdb", 1234], ["--find", "call x"], ["--core", "x"]):
        fails(capsys, ["replay", directory, *options], 5, *said)
    fails(capsys, ["replay", log], 5, *said)


def test_where_a_core_cannot_be_written(capsys: Capture, tmp_path: Path) -> None:
    """That is said before the replay."""
    directory = tmp_path / "r"
    make_recording(directory)
    for core in (tmp_path, tmp_path / "missing" / "core"):
        fails(capsys, ["replay", directory, "--core", core], 2, f"cannot write {core}")
    command = ["replay", directory, "--core", tmp_path / "core", "--symbols", tmp_path / "no" / "s"]
    fails(capsys, command, 2, "cannot write")


def test_a_demo_replaces_only_its_own(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that somebody names stays; two demos do not write into one."""
    kept = tmp_path / "kept"
    kept.write_text("mine")
    fails(capsys, ["demo", "-o", tmp_path], 2, "exists already")
    assert kept.read_text() == "mine"
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    (tmp_path / "build").mkdir()
    with (tmp_path / "build" / "demo.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fails(capsys, ["demo"], 1, "another demo")


def test_recordings_that_cannot_be_replayed(capsys: Capture, tmp_path: Path) -> None:
    fails(capsys, ["replay", tmp_path / "no"], 2, "no such recording")
    fails(capsys, ["replay", tmp_path], 4, "incomplete")
    make_recording(tmp_path / "r")
    (tmp_path / "r" / "log.lvmm").write_text("LOG.lvmm")
    fails(capsys, ["replay", tmp_path / "r"], 4, "log.lvmm")
    manifest = tmp_path / "r" / "recording.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    fails(capsys, ["replay", tmp_path / "r"], 5, "version")
    (tmp_path / "r").rename(tmp_path / "r.partial")
    fails(capsys, ["replay", tmp_path / "r.partial"], 4, "incomplete")
    fails(capsys, ["replay", tmp_path / "r"], 4, "incomplete")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--ring", "4M"], ["--overwrite"]),
        (["--overwrite"], ["--ring SIZE"]),
        (["--epoch-ms", "5"], ["--ring SIZE"]),
        (["--ring", "4M", "--overwrite", "--log-size", "4096"], ["--log-size"]),
        (["--ring", "4M", "--overwrite", "--sink", "serial"], ["--sink serial"]),
        (["--ring", "1G", "--overwrite"], ["288 MiB", "at most 286M"]),
    ],
)
def test_options_of_a_ring(
    capsys: Capture, tmp_path: Path, hello: Path, arguments: list[str], words: list[str]
) -> None:
    output = tmp_path / "out"
    fails(capsys, ["record", "--multiboot", hello, "-o", output, *arguments], 2, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["4", "512K", "4X", "-1M", "M"])
def test_the_size_of_a_ring(capsys: Capture, hello: Path, size: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["record", "--multiboot", str(hello), "--ring", size, "--overwrite"])
    assert ended.value.code == 2
    assert "--ring" in capsys.readouterr().err
