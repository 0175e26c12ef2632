"""tools/extract_log.py on regions, images, files and pipes, whole and damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.host import extract_tool, log_driver
from tests.host.extract_tool import (
    COMPLETE,
    CONSOLE,
    ENVIRONMENT,
    EVENTS,
    LOSS,
    MIB,
    NO_LOG,
    REGION_SIZE,
    TOOL,
    USAGE,
    VERSION,
    Tool,
    chunk_offsets,
    image_with,
    log_of,
    of_version,
    one_line,
    region_of,
    some_events,
    write,
)
from tests.host.log_cases import numbered, python_writer
from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.logs import Recording
from lvmm.logs import source as sources
from lvmm.logs.crc import crc32c
from lvmm.logs.layout import FORMAT_VERSION, ChunkHeader, RegionHeader
from lvmm.logs.output import new_file
from lvmm.logs.writer import LogWriter, build_region

pytestmark = pytest.mark.host

tool = extract_tool.tool

# ---- finding --------------------------------------------------------------------------------


def test_holes_of_an_image_are_not_read(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_with(tmp_path / "ram", {0x42000000: region_of()})
    read = sources.Source.read
    sizes: list[int] = []

    def counted(source: sources.Source, offset: int, size: int) -> bytes:
        sizes.append(size)
        return read(source, offset, size)

    monkeypatch.setattr(sources.Source, "read", counted)
    code, out, _ = tool("info", image, "--json")
    assert sum(sizes) < 16 * MIB
    facts = json.loads(out)
    assert code == COMPLETE
    assert facts["complete"] and facts["ended"] == "power_off"
    assert facts["region"]["base"] == "0x42000000"
    assert facts["region"]["state"] == "sealed"
    assert facts["events"] == len(EVENTS)
    assert facts["header"]["board"] == "bochs-vtx"
    assert facts["header"]["command_line"] == "console=ttyS0 quiet"
    assert facts["header"]["unsound"] is True


def test_extract_gives_the_log_and_the_console(tool: Tool, tmp_path: Path) -> None:
    image = image_with(tmp_path / "ram", {MIB: region_of()}, 4 * MIB)
    code, out, err = tool("extract", image, "-o", tmp_path / "deep" / "recording")
    assert (code, out) == (COMPLETE, "")
    assert len(err.splitlines()) == 1
    folder = tmp_path / "deep" / "recording"
    assert sorted(path.name for path in folder.iterdir()) == ["console.log", "log.lvmm"]
    assert (folder / "log.lvmm").read_bytes() == log_of().data
    assert (folder / "console.log").read_bytes() == CONSOLE
    for source in (folder, folder / "log.lvmm"):
        assert tool("verify", source)[0] == COMPLETE
        with Recording.open(source) as recording:
            assert [event.index for event in recording.events()] == list(range(len(EVENTS)))
            assert recording.header == HEADER
    with Recording.open(folder) as recording:
        assert recording.console == CONSOLE


def test_extract_to_a_file(tool: Tool, tmp_path: Path) -> None:
    image = image_with(tmp_path / "ram", {0: region_of()}, MIB)
    output = tmp_path / "some.lvmm"
    assert tool("extract", image, "-o", output)[0] == COMPLETE
    assert output.read_bytes() == log_of().data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ram", "some.lvmm"]


def test_extract_replaces_nothing(tool: Tool, tmp_path: Path) -> None:
    source = write(tmp_path / "region", region_of())
    other = write(tmp_path / "other", region_of(0xABC))
    folder, file = tmp_path / "saved", tmp_path / "log.lvmm"
    for target, there in ((folder, folder / "log.lvmm"), (file, file)):
        assert tool("extract", other, "-o", target)[0] == COMPLETE
        for again in (source, other):
            outcome = tool("extract", again, "-o", target)
            assert one_line(outcome) == USAGE
            assert f"{there} exists already; choose another place with -o" in outcome[2]
        assert there.read_bytes() == log_of(0xABC).data
    (folder / "log.lvmm").unlink()
    outcome = tool("extract", source, "-o", folder)
    assert one_line(outcome) == USAGE
    assert f"{folder / 'console.log'} exists already" in outcome[2]
    assert [path.name for path in folder.iterdir()] == ["console.log"]


def test_an_extract_that_fails_in_the_middle_can_be_repeated(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "region", region_of())
    fsync, calls = os.fsync, []

    def full(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", full)
    outcome = tool("extract", source, "-o", tmp_path / "saved")
    assert one_line(outcome) == ENVIRONMENT
    assert not list((tmp_path / "saved").iterdir())
    assert tool("extract", source, "-o", tmp_path / "saved")[0] == COMPLETE


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_of_two_that_save_at_once_one_does(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one began when there was nothing yet."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "FAT")))
    target = tmp_path / "log.lvmm"
    with pytest.raises(UsageError, match="exists already"), new_file(target, replaces=False) as one:
        one.write(b"one")
        with new_file(target, replaces=False) as other:
            other.write(b"other")
    assert target.read_bytes() == b"other"
    assert list(tmp_path.iterdir()) == [target]


def test_magic_at_other_places_is_no_region(tool: Tool, tmp_path: Path) -> None:
    region = region_of()
    damaged_copy = bytearray(region[:4096])
    damaged_copy[20] ^= 1
    pieces = {MIB + 16: region[:4096], 2 * MIB: bytes(damaged_copy), 3 * MIB: region}
    image = image_with(tmp_path / "ram", pieces, 8 * MIB)
    code, out, _ = tool("info", image, "--json")
    assert code == COMPLETE
    assert json.loads(out)["region"]["base"] == hex(3 * MIB)


def test_two_logs_must_be_told_apart(tool: Tool, tmp_path: Path) -> None:
    image = image_with(tmp_path / "ram", {MIB: region_of(), 2 * MIB: region_of(0xABC)}, 8 * MIB)
    code, _, err = tool("verify", image)
    assert code == USAGE
    assert "1122334455667788, 0000000000000abc" in err
    code, out, _ = tool("verify", image, "--recording", "abc", "--json")
    assert code == COMPLETE
    assert json.loads(out)["recording_id"] == "0000000000000abc"
    code, _, err = tool("verify", image, "--recording", "abd")
    assert code == NO_LOG


def test_an_empty_region_does_not_hide_a_recording(tool: Tool, tmp_path: Path) -> None:
    empty = LogWriter(0xABC, HEADER)
    empty.data.clear()
    pieces = {MIB: build_region(empty, REGION_SIZE, b"boot\n"), 2 * MIB: region_of()}
    image = image_with(tmp_path / "ram", pieces, 8 * MIB)
    assert json.loads(tool("info", image, "--json")[1])["region"]["base"] == hex(2 * MIB)
    alone = image_with(tmp_path / "alone", {MIB: pieces[MIB]}, 8 * MIB)
    assert tool("extract", alone, "-o", tmp_path / "out")[0] == NO_LOG
    assert tool("console", alone)[:2] == (COMPLETE, "boot\n")


def test_copies_of_the_first_page_do_not_hide_a_region(tool: Tool, tmp_path: Path) -> None:
    """A rescue system's page cache has such copies, below and above the region."""
    region = region_of()
    copies = {MIB: region[:4096], 2 * MIB: region, 3 * MIB: region[:4096]}
    image = image_with(tmp_path / "ram", copies, 8 * MIB)
    code, out, _ = tool("info", image, "--json")
    assert code == COMPLETE
    assert json.loads(out)["region"]["base"] == hex(2 * MIB)
    assert json.loads(out)["events"] == len(EVENTS)


def test_standard_input(tmp_path: Path) -> None:
    image = image_with(tmp_path / "ram", {9 * MIB: region_of()}, 16 * MIB)
    command = [sys.executable, str(TOOL), "verify", "--json", "-"]
    with image.open("rb") as file:
        redirected = subprocess.run(command, stdin=file, capture_output=True, check=True)
    piped = subprocess.run(command, input=image.read_bytes(), capture_output=True, check=True)
    assert json.loads(piped.stdout)["events"] == len(EVENTS)
    assert json.loads(piped.stdout)["complete"]
    assert redirected.stdout == piped.stdout


def test_the_ring_keeps_the_newest_console_output(tool: Tool, tmp_path: Path) -> None:
    lines = b"".join(b"line %d\n" % index for index in range(1000))
    requests = [log_driver.console_request(lines[at : at + 700]) for at in range(0, 8890, 700)]
    log_driver.write([log_driver.header_request(), *requests], tmp_path / "region")
    code, out, err = tool("console", tmp_path / "region")
    assert code == COMPLETE
    assert out.encode() == lines[-4096:]
    assert str(len(lines) - 4096) in err


# ---- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["header", "payload", "magic"])
def test_a_damaged_chunk_costs_only_itself(tool: Tool, tmp_path: Path, where: str) -> None:
    region = bytearray(region_of())
    start = 4096 * 2
    offsets = chunk_offsets(bytes(log_of().data))
    place = {"header": 20, "payload": ChunkHeader.STRUCT.size + 9, "magic": 1}[where]
    region[start + offsets[2] + place] ^= 0x40
    image = image_with(tmp_path / "ram", {MIB: bytes(region)}, 8 * MIB)
    code, out, err = tool("verify", image, "--json")
    facts = json.loads(out)
    assert code == LOSS
    assert not facts["complete"]
    assert facts["events"] == len(EVENTS) - 10
    assert [loss["events"] for loss in facts["losses"]] == [10]
    assert facts["ended"] == "power_off"
    assert len(err.splitlines()) == 1
    assert tool("extract", image, "-o", tmp_path / "out")[0] == LOSS
    # The saved file tells the loss as well, although nothing in it is damaged.
    code, out, _ = tool("verify", tmp_path / "out", "--json")
    assert code == LOSS
    assert [loss["events"] for loss in json.loads(out)["losses"]] == [10]


def test_a_damaged_region_header_leaves_the_chunks(tool: Tool, tmp_path: Path) -> None:
    region = bytearray(region_of())
    region[:4096] = os.urandom(4096)
    image = image_with(tmp_path / "ram", {MIB: bytes(region)}, 8 * MIB)
    code, _, _ = tool("extract", image, "-o", tmp_path / "out.lvmm")
    assert (tmp_path / "out.lvmm").read_bytes() == log_of().data
    assert code == LOSS


def test_a_lost_recording_header_is_a_loss(tool: Tool, tmp_path: Path) -> None:
    log = bytearray(log_of().data)
    log[70] ^= 1
    (tmp_path / "log.lvmm").write_bytes(log)
    code, out, err = tool("info", tmp_path / "log.lvmm", "--json")
    assert code == LOSS
    assert json.loads(out)["header"] is None
    assert json.loads(out)["events"] == len(EVENTS)
    assert "recording header" in err


def test_a_cut_file_gives_its_whole_chunks(tool: Tool, tmp_path: Path) -> None:
    log = bytes(log_of().data)
    offsets = chunk_offsets(log)
    path = tmp_path / "log.lvmm"
    path.write_bytes(log[: offsets[3] + 30])
    code, out, err = tool("verify", path, "--json")
    assert code == LOSS
    assert json.loads(out)["events"] == 20
    assert json.loads(out)["ended"] is None
    assert "cut short" in err
    path.write_bytes(log[: offsets[3]])
    code, out, err = tool("verify", path)
    assert code == COMPLETE  # nothing tells how much more there was
    assert "no END event" in err


def test_a_killed_recording_keeps_its_open_chunk(tool: Tool, tmp_path: Path) -> None:
    region = tmp_path / "region"
    requests = [log_driver.header_request()]
    for index, item in enumerate(EVENTS[:-1]):
        requests.append(log_driver.event_request(item))
        if index == 12:
            requests.append(log_driver.flush_request())
    _, data = log_driver.write(requests, region)
    code, out, err = tool("verify", region, "--json")
    facts = json.loads(out)
    assert code == COMPLETE
    assert facts["events"] == len(EVENTS) - 1
    assert facts["region"]["state"] == "recording"
    assert facts["region"]["open_events"] == len(EVENTS) - 1 - 13
    assert "no END event" in err
    # The chunk that was saved is as good as one that the monitor closed.
    assert tool("extract", region, "-o", tmp_path / "out.lvmm")[0] == COMPLETE
    (result,) = log_driver.read([(tmp_path / "out.lvmm").read_bytes()])
    assert result.end == log_driver.ERR_END
    assert result.events == numbered(EVENTS[:-1])
    # Torn: its bytes are not what the region says.
    header = RegionHeader.unpack(data)
    torn = bytearray(data)
    at = header.chunks_offset + header.chunk_bytes + ChunkHeader.STRUCT.size
    torn[at : at + 20] = b"\xff" * 20
    region.write_bytes(torn)
    code, out, err = tool("verify", region, "--json")
    assert code == LOSS
    assert json.loads(out)["events"] == 13
    assert [loss["events"] for loss in json.loads(out)["losses"]] == [len(EVENTS) - 1 - 13]


def test_a_chunk_closed_just_before_the_reset_is_found(tool: Tool, tmp_path: Path) -> None:
    """The region's header was not yet brought up to date."""
    region = bytearray(region_of())
    header = RegionHeader.unpack(bytes(region))
    last = chunk_offsets(bytes(log_of().data))[-1]
    stale = replace(
        header, chunk_bytes=last, next_seq=header.next_seq - 1, open_chunk=1 << 32 | 500
    )
    region[: RegionHeader.STRUCT.size] = stale.pack()
    image = image_with(tmp_path / "ram", {0: bytes(region)}, MIB)
    code, out, _ = tool("verify", image, "--json")
    assert code == COMPLETE
    assert json.loads(out)["ended"] == "power_off"


def test_chunks_of_an_earlier_recording_are_left_out(tool: Tool, tmp_path: Path) -> None:
    """The region keeps old bytes behind the new end; they must not be taken for the end."""
    region = bytearray(region_of())
    end = 4096 * 2 + len(log_of().data)
    old = log_of(0xABC).data
    region[end : end + len(old)] = old
    image = image_with(tmp_path / "ram", {0: bytes(region)}, MIB)
    code, out, _ = tool("verify", image, "--json")
    assert code == COMPLETE
    assert json.loads(out)["chunks"] == len(chunk_offsets(bytes(old)))


def test_malformed_events_cost_the_rest_of_their_chunk(tool: Tool, tmp_path: Path) -> None:
    log = bytearray(log_of().data)
    offsets = chunk_offsets(bytes(log))
    at = offsets[2]
    header = ChunkHeader.unpack(bytes(log), at)
    with Recording.open(write(tmp_path / "good.lvmm", bytes(log))) as recording:
        broken = next(event for event in recording.events() if event.index == 14)
    log[broken.offset] = 0  # no event has kind 0
    payload = bytes(log[at + ChunkHeader.STRUCT.size :][: header.payload_len])
    crc = crc32c(payload, crc32c(bytes(log[at : at + 52])))
    log[at + 52 : at + 56] = crc.to_bytes(4, "little")
    code, out, err = tool("verify", write(tmp_path / "bad.lvmm", bytes(log)), "--json")
    assert code == LOSS
    assert json.loads(out)["events"] == len(EVENTS) - 6
    assert "malformed" in err


# ---- refusals -------------------------------------------------------------------------------


def test_what_holds_no_log(tool: Tool, tmp_path: Path) -> None:
    noise = write(tmp_path / "noise", os.urandom(300_000))
    empty = write(tmp_path / "empty", b"")
    (tmp_path / "folder").mkdir()
    for source in (noise, empty, tmp_path / "folder", image_with(tmp_path / "zeros", {})):
        assert one_line(tool("info", source)) == NO_LOG
    assert one_line(tool("info", tmp_path / "absent")) == ENVIRONMENT


def test_another_version_is_refused_with_help(tool: Tool, tmp_path: Path) -> None:
    log = bytes(log_of().data)
    for version in (1, 9):
        code, _, err = tool("info", write(tmp_path / "log.lvmm", of_version(log, version)))
        assert (code, f"version {version}," in err) == (VERSION, True)
        assert f"this lvmm reads versions 2 to {FORMAT_VERSION}" in err
        assert "made by lvmm 0.1: use that" in err
        # Whatever its chunks look like, if only magic and version stand where they do.
        other = log[:4] + bytes([version, 0]) + os.urandom(500)
        code, _, err = tool("info", write(tmp_path / "log.lvmm", other))
        assert (code, f"version {version}," in err) == (VERSION, True)
    region = bytearray(region_of())
    region[8] = 9
    region[72:76] = crc32c(bytes(region[:72])).to_bytes(4, "little")
    image = image_with(tmp_path / "ram", {MIB: bytes(region)}, 8 * MIB)
    code, _, err = tool("verify", image)
    assert (code, "version 9" in err) == (VERSION, True)


def test_usage_errors(tool: Tool, tmp_path: Path) -> None:
    log = write(tmp_path / "log.lvmm", bytes(log_of().data))
    assert one_line(tool()) == USAGE
    assert one_line(tool("info")) == USAGE
    assert one_line(tool("extract", log)) == USAGE
    assert one_line(tool("dump", log, "--events", "x")) == USAGE
    assert one_line(tool("dump", log, "--last", "-1")) == USAGE
    assert one_line(tool("dump", log, "--type", "NOTHING")) == USAGE
    assert one_line(tool("console", log)) == NO_LOG


def test_what_cannot_be_written(tool: Tool, tmp_path: Path) -> None:
    log = write(tmp_path / "log.lvmm", bytes(log_of().data))
    write(tmp_path / "file", b"")
    assert one_line(tool("extract", log, "-o", tmp_path / "file" / "x")) == ENVIRONMENT
    assert one_line(tool("extract", log, "-o", tmp_path / "none" / "x.lvmm")) == ENVIRONMENT


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write(tmp_path / "log.lvmm", bytes(log_of().data))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out").mkdir()
    with Recording.open(log) as recording, pytest.raises(EnvironmentProblem, match="No space"):
        recording.save(tmp_path / "out" / "log.lvmm")
    assert list((tmp_path / "out").iterdir()) == []


# ---- showing --------------------------------------------------------------------------------


def test_info_for_people(tool: Tool, tmp_path: Path) -> None:
    code, out, _ = tool("info", write(tmp_path / "log.lvmm", bytes(log_of().data)))
    assert code == COMPLETE
    assert "bochs-vtx" in out and "crc32c deadbeef" in out and "{" not in out


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    log = write(tmp_path / "log.lvmm", bytes(python_writer(some_events(20000)).data))
    program = f"{sys.executable} {TOOL} dump {log} | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[1] == "0"
    assert result.stderr == ""


# ---- memory devices -------------------------------------------------------------------------


def test_only_memory_is_read_of_dev_mem(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = {MIB: region_of(0xABC), 4 * MIB: region_of(), 6 * MIB: region_of(0xDEF)}
    image = image_with(tmp_path / "mem", pieces, 8 * MIB)
    (tmp_path / "iomem").write_text(
        "00000000-000fffff : System RAM\n"
        "00100000-001fffff : PCI Bus 0000:00\n"
        "  00100000-00100fff : Reserved\n"
        "00400000-005fffff : Reserved\n"
        "00600000-006fffff : 0000:00:03.0\n"
    )
    monkeypatch.setattr(sources, "_DEVMEM", str(image))
    monkeypatch.setattr(sources, "_IOMEM", tmp_path / "iomem")
    code, out, _ = tool("verify", image, "--json")
    assert code == COMPLETE
    assert json.loads(out)["recording_id"] == f"{RECORDING_ID:016x}"
    source = sources.Source(str(image))
    data = image.read_bytes()
    read = source.read(MIB - 8, 6 * MIB)  # as a chunk may that says it is so long
    assert read == data[MIB - 8 : MIB] + bytes(3 * MIB) + data[4 * MIB : 6 * MIB]
    source.close()
    (tmp_path / "iomem").write_text("00000000-00000000 : System RAM\n")
    assert one_line(tool("info", image)) == ENVIRONMENT
