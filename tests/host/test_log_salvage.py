"""What damage has left whole comes back, what is missing is named, nothing is made up."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.host import extract_tool
from tests.host.damaged_logs import Case, make_case, split
from tests.host.extract_tool import (
    CHUNK_MAGIC,
    COMPLETE,
    LOSS,
    NO_LOG,
    USAGE,
    VERSION,
    Tool,
    chunk_offsets,
    load_tool,
    log_of,
    region_of,
    some_events,
    write,
)
from tests.host.log_cases import python_writer

from lvmm.errors import LvmmError, UsageError
from lvmm.logs import NoLog, Recording, layout
from lvmm.logs.errors import Loss

pytestmark = pytest.mark.host

tool = extract_tool.tool

BATCHES = 8
COMMAND_EACH = 50  # cases, one of which is given to the whole tool


def open_case(path: Path, case: Case) -> Recording | None:
    """The recording, or None where there is none: then nothing may have been left of it."""
    try:
        return Recording.open(path)
    except NoLog:
        assert not case.survivors() and not any(chunk in case.data for chunk in case.others)
    except UsageError:  # the other recording is all that begins as a file must, or both are found
        assert case.others
        try:
            return Recording.open(path, case.recording_id)
        except NoLog:
            assert not case.survivors()
    return None


def missing(losses: list[Loss]) -> set[int]:
    """The sequence numbers that the losses name, as far as they have an end."""
    return {
        seq
        for loss in losses
        if loss.first_seq is not None and loss.last_seq is not None
        for seq in range(loss.first_seq, loss.last_seq + 1)
    }


def check(path: Path, case: Case) -> None:
    path.write_bytes(case.data)
    recording = open_case(path, case)
    if recording is None:
        return
    with recording:
        chunks = case.chunks
        if recording.recording_id != case.recording_id:  # the other one came first
            chunks = case.others
        survivors = case.whole(chunks)
        found = [chunk.header.seq for chunk in recording.chunks]
        assert found == survivors, "chunks that come back"
        for chunk in recording.chunks:
            packed = chunk.header.pack() + chunk.payload()
            assert packed == chunks[chunk.header.seq], "nothing is made up"
        events = [event.index for event in recording.events()]
        assert events == sorted(set(events)) and len(events) == recording.event_count
        losses = recording.losses
        if survivors:
            gaps = set(range(survivors[-1])) - set(survivors)
            assert gaps <= missing(losses), "what is missing is named"
            assert not missing(losses) & set(survivors)
        for loss in losses:
            assert 0 <= loss.offset <= loss.offset + loss.size <= len(case.data)
        saved = path.with_name("saved.lvmm")
        if recording.chunks:
            recording.save(saved)
            assert split(saved.read_bytes()) == [chunks[seq] for seq in survivors]
    assert path.read_bytes() == case.data, "the source is only read"


def run_tool(main: object, path: Path) -> None:
    """All that the tool does with a source ends without a traceback and with a code of its own."""
    output = path.with_name(f"extracted{len(list(path.parent.iterdir()))}")
    for command in (
        ["info"],
        ["verify", "--json"],
        ["verify", "--decode"],
        ["dump"],
        ["stats"],
        ["console"],
        ["extract", "-o", str(output)],
    ):
        out, err = io.StringIO(), io.StringIO()
        out.buffer = io.BytesIO()  # type: ignore[misc]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([command[0], str(path), *command[1:]])  # type: ignore[operator]
        assert code in (COMPLETE, USAGE, LOSS, NO_LOG, VERSION), (command, code, err.getvalue())


@pytest.mark.deadline(900)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_generated_damage(batch: int, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    cases = pytestconfig.getoption("--damaged-logs")
    main = load_tool().main
    for seed in range(batch, cases, BATCHES):
        case = make_case(seed)
        try:
            check(tmp_path / "log", case)
            if seed % COMMAND_EACH == 0:
                run_tool(main, tmp_path / "log")
        except (AssertionError, Exception) as error:
            raise AssertionError(f"damaged log number {seed}: {error}") from error


# ---- what the generator does seldom, one by one ----------------------------------------------


def named(tool: Tool, path: Path) -> tuple[int, list[tuple[int | None, int | None, int | None]]]:
    """Exit code of verify, and of each loss the chunks from and to, and its events."""
    code, out, _ = tool("verify", path, "--json")
    losses = json.loads(out)["losses"]
    return code, [(loss["first_seq"], loss["last_seq"], loss["events"]) for loss in losses]


def test_chunks_in_another_order_lose_nothing(tool: Tool, tmp_path: Path) -> None:
    log = bytes(log_of().data)
    offsets = [*chunk_offsets(log), len(log)]
    parts = [log[low:high] for low, high in itertools.pairwise(offsets)]
    for order in itertools.permutations(range(len(parts))):
        path = write(tmp_path / "log.lvmm", b"".join(parts[index] for index in order))
        assert named(tool, path) == (COMPLETE, [])
        with Recording.open(path) as recording:
            assert bool(recording.disordered) == (order != tuple(range(len(parts))))
            recording.save(tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes() == log


def test_a_chunk_that_is_there_twice(tool: Tool, tmp_path: Path) -> None:
    log = bytes(log_of().data)
    offsets = chunk_offsets(log)
    twice = log[offsets[1] : offsets[2]]
    assert named(tool, write(tmp_path / "a", log + twice)) == (COMPLETE, [])
    assert "twice" in tool("verify", tmp_path / "a")[2]
    # Another chunk with that number: one of the two is wrong, and nobody knows which.
    header = extract_tool.ChunkHeader.unpack(twice)
    payload = bytes(len(twice) - extract_tool.ChunkHeader.STRUCT.size)[: header.payload_len]
    crc = extract_tool.chunk_crc(header, payload)
    other = header.pack()[:-4] + crc.to_bytes(4, "little") + payload
    assert named(tool, write(tmp_path / "b", log + other)) == (LOSS, [(1, 1, 10)])


def test_a_chunk_in_the_padding_of_another_is_found(tool: Tool, tmp_path: Path) -> None:
    log = bytes(log_of().data)
    sizes = [len(chunk) for chunk in split(log)]
    number = next(index for index, size in enumerate(sizes) if size % 8)
    at = chunk_offsets(log)[number + 1]
    path = write(tmp_path / "log", log[: at - 1] + log[at:])
    assert named(tool, path) == (COMPLETE, [])
    with Recording.open(path) as recording:
        assert recording.disordered == 1
        recording.save(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == log


def test_chunks_that_share_bytes_are_both_there(tool: Tool, tmp_path: Path) -> None:
    """Bytes are gone: what is left of the second chunk begins with the end of the first. The chunk
    in the middle of the first one's data is nothing but data, of a guest that copies a log.
    """
    copied = split(bytes(log_of(0xABC).data))[1]
    written = some_events(40)
    payloads = [layout.Dma(1, 0x1000, copied + b"x"), layout.Mark(CHUNK_MAGIC)]
    for number, payload in zip((10, 11), payloads, strict=True):
        event = replace(written[number].event, payload=payload, asynchronous=False, registers=None)
        written[number] = replace(written[number], event=event)
    log = bytes(python_writer(written, 12).data)
    chunks = split(log)
    number = next(n for n, chunk in enumerate(chunks) if chunk.endswith(CHUNK_MAGIC))
    assert copied in chunks[number]
    at = chunk_offsets(log)[number + 1]
    end = chunk_offsets(log)[number] + len(chunks[number])
    path = write(tmp_path / "log", log[:end] + log[at + len(CHUNK_MAGIC) :])
    assert named(tool, path) == (COMPLETE, [])
    with Recording.open(path) as recording:
        assert recording.others == {}
        recording.save(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == log


def test_two_logs_in_one_file(tool: Tool, tmp_path: Path) -> None:
    path = write(tmp_path / "log", bytes(log_of().data + log_of(0xABC).data))
    assert named(tool, path) == (COMPLETE, [])
    assert "--recording 0000000000000abc" in tool("info", path)[2]
    assert tool("extract", path, "--recording", "abc", "-o", tmp_path / "x.lvmm")[0] == COMPLETE
    assert (tmp_path / "x.lvmm").read_bytes() == log_of(0xABC).data
    assert tool("extract", path, "--recording", "abd", "-o", tmp_path / "y.lvmm")[0] == NO_LOG


def test_what_an_earlier_recording_left_in_the_region(tool: Tool, tmp_path: Path) -> None:
    region = bytearray(region_of())
    earlier = python_writer(some_events(60), 5, 0xABC)
    new_end = 2 * 4096 + len(log_of().data)
    # The new one was written over the beginning of the earlier one.
    region[new_end : 2 * 4096 + len(earlier.data)] = earlier.data[new_end - 2 * 4096 :]
    path = write(tmp_path / "ram", bytes(region))
    assert named(tool, path) == (COMPLETE, [])
    with Recording.open(path, 0xABC) as recording:
        last = [chunk.header.seq for chunk in recording.chunks]
        assert last and last == list(range(last[0], earlier.next_seq))
        (loss,) = [loss for loss in recording.losses if loss.first_seq is not None]
        assert (loss.first_seq, loss.last_seq, loss.first_event) == (0, last[0] - 1, 0)


def test_a_loss_is_named_by_number_position_and_place(tool: Tool, tmp_path: Path) -> None:
    log = bytearray(log_of().data)
    offsets = chunk_offsets(bytes(log))
    log[offsets[2] + 60] ^= 1
    path = write(tmp_path / "log", bytes(log))
    with Recording.open(path) as recording:
        (loss,) = recording.losses
    assert loss == Loss(
        offsets[2], offsets[3] - offsets[2], 10, "damaged", 2, 2, 10, after=0, before=200
    )
    text = f"damaged at {offsets[2]:#x}: {loss.size} bytes, chunk 2, 10 events lost from event 10"
    assert text + " on, between branches 0 and 200" in tool("verify", path)[2]


def test_the_end_of_a_region_is_named_as_its_header_tells(tool: Tool, tmp_path: Path) -> None:
    region = bytearray(region_of())
    offsets = chunk_offsets(bytes(log_of().data))
    start = 2 * 4096 + offsets[3]
    region[start : 2 * 4096 + len(log_of().data)] = bytes(len(log_of().data) - offsets[3])
    assert named(tool, write(tmp_path / "ram", bytes(region))) == (LOSS, [(3, 4, 11)])


def test_an_output_that_cannot_be_written_leaves_nothing(tool: Tool, tmp_path: Path) -> None:
    path = write(tmp_path / "log", bytes(log_of().data))
    (tmp_path / "out.lvmm").mkdir()
    (tmp_path / "out.lvmm" / "log.lvmm").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LvmmError), Recording.open(path) as recording:
        recording.save(tmp_path / "out.lvmm")
    assert sorted(tmp_path.rglob("*")) == before
