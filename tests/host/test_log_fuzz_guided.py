"""A coverage-guided fuzz run of the log's reader (tests/fuzz/log_reader.py)."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.host import cbuild

pytestmark = pytest.mark.host

PROGRAM = cbuild.ROOT / "tests" / "fuzz" / "log_reader.py"
# For the start, and for the seeds, which are all tried whatever the time.
_MORE_S = 600


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="there is no atheris for this Python"
)
@pytest.mark.deadline(24 * 3600)
def test_whatever_the_bytes_the_reader_ends(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    seconds = pytestconfig.getoption("--fuzz-seconds")
    done = subprocess.run(
        [
            *(sys.executable, str(PROGRAM), str(tmp_path / "corpus")),
            *(f"-max_total_time={seconds}", "-max_len=16384", "-print_final_stats=1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + _MORE_S,
        check=False,
    )
    found = [path.read_bytes().hex() for path in tmp_path.glob("crash-*")]
    assert done.returncode == 0 and not found, done.stderr[-4000:] + "\n".join(found)
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs and int(runs[1]) > 0, done.stderr[-4000:]
    covered = re.findall(r" cov: (\d+) ", done.stderr)
    assert covered and int(covered[-1]) > 0, "nothing was instrumented"
    print(done.stderr[-2000:])
