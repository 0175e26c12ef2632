"""Coverage-guided fuzzing of the tools' log reader, with atheris (libFuzzer).

    python tests/fuzz/log_reader.py CORPUS [libFuzzer's options, e.g. -max_total_time=600]

Whatever the bytes, the reader ends with a recording or an error of its own, and the two decoders,
in Python and in C, agree on what is in it. CORPUS is a directory: it is begun with small logs, and
keeps what was found on the way. The exit code is not 0 when something was found; the input is in a
file crash-* in the current directory.

    ./lvmm test tests/host/test_log_fuzz_guided.py --fuzz-seconds 600 -s

runs it with all that it needs.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT)]

import atheris  # noqa: E402

with atheris.instrument_imports(include=["lvmm.logs"]):
    from lvmm.logs import Recording
    from lvmm.logs.chunks import chunk_crc
    from lvmm.logs.counts import Counter
    from lvmm.logs.event_text import event_json, event_line
    from lvmm.logs.facts import facts_of
    from lvmm.logs.selection import Selection
    from lvmm.logs.statistics import PythonCounter, count, fast_counter
    from lvmm.logs.stats import statistics_json

from tests.host.damaged_logs import make_case  # noqa: E402

from lvmm.errors import LvmmError  # noqa: E402
from lvmm.logs.layout import CHUNK_MAGIC, CHUNK_PAYLOAD_MAX, ChunkHeader  # noqa: E402

SEEDS = 60
FORGE = 1  # of the first byte of an input: give all chunks the right CRC

_HEADER = ChunkHeader.STRUCT.size
_MAGIC = CHUNK_MAGIC.to_bytes(4, "little")
_FILE = Path(tempfile.gettempdir()) / f"lvmm-fuzz-{os.getpid()}"


def forged(data: bytes) -> bytes:
    """The bytes with a right CRC in every chunk: else damage would never come to the decoder."""
    out = bytearray(data)
    at = out.find(_MAGIC)
    while 0 <= at <= len(out) - _HEADER:
        header = ChunkHeader.unpack(bytes(out), at)
        end = at + _HEADER + min(header.payload_len, CHUNK_PAYLOAD_MAX)
        if end <= len(out):
            crc = chunk_crc(header, bytes(out[at + _HEADER : end]))
            out[at + _HEADER - 4 : at + _HEADER] = crc.to_bytes(4, "little")
            at = end
        else:
            at += 4
        at = out.find(_MAGIC, at)
    return bytes(out)


def test_one_input(data: bytes) -> None:
    """Read what `data` says in every way."""
    body = data[1:]
    _FILE.write_bytes(forged(body) if data[:1] and data[0] & FORGE else body)
    try:
        read_all()
    except LvmmError as error:
        assert "\n" not in str(error)


def read_all() -> None:
    """What the commands do, but for printing."""
    results = []
    for counter in (PythonCounter(), fast_counter()):
        assert counter is not None, "the decoder in C was not built"
        with Recording.open(str(_FILE)) as recording:
            results.append(counted(recording, counter))
            facts_of(recording)
            for loss in recording.losses:
                assert str(loss) and loss.size >= 0
    assert results[0] == results[1], results
    with Recording.open(str(_FILE)) as recording:
        for event in Selection(newest=1000).of(recording):
            event_line(event)
            event_json(event)
        if recording.header is not None:
            recording.header.as_json()


def counted(recording: Recording, counter: Counter) -> object:
    """What a decoder counts, and the losses that it finds."""
    found = count(recording, counter)
    statistics_json(found, recording, 10)
    return found, [(loss.offset, loss.events) for loss in recording.losses]


def begin(corpus: Path) -> None:
    """Put small logs and regions into the corpus, as they are and to be forged."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in range(SEEDS):
        data = make_case(seed).data
        (corpus / f"seed-{seed}").write_bytes(bytes([seed % 2]) + data)


def main() -> None:
    """Run the fuzzer until one of its options ends it."""
    begin(Path(sys.argv[1]))
    try:
        atheris.Setup(sys.argv, test_one_input)
        atheris.Fuzz()
    finally:
        _FILE.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
