"""What all tests share: markers by folder, deadlines, and logs kept when a test fails."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build" / "test-logs"
KEPT = ("*.log", "*.json", "bochsrc", "bochs.out", "*.out", "*.err")
KEPT_MAX_BYTES = 8 << 20

FOLDERS = ("host", "emulated", "hardware")
# A busy machine generates slowly: that says nothing of the test, which has a deadline of its own.
settings.register_profile("lvmm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lvmm")

DEFAULT_DEADLINE_S = {"host": 300, "emulated": 900, "hardware": 900}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--linux-recordings",
        type=int,
        default=4,
        help="how many short Linux recordings to make and replay (default 4)",
    )
    parser.addoption(
        "--appliance-recordings",
        type=int,
        default=10,
        help="how many short recordings of the sample appliance to make and replay (default 10)",
    )
    parser.addoption(
        "--hostile-seeds",
        type=int,
        default=500,
        help="how many streams of random instructions the hostile guest runs live (default 500)",
    )
    parser.addoption(
        "--damaged-logs",
        type=int,
        default=10_000,
        help="how many logs with generated damage the log's reader gets (default 10000)",
    )
    parser.addoption(
        "--fuzz-seconds",
        type=int,
        default=5,
        help="how long the log's reader is fuzzed with coverage as a guide (default 5)",
    )
    parser.addoption(
        "--disk-systems",
        action="store_true",
        help="the long tests, too: Debian, memtest86+ and iPXE on disks of their own, drivers of a "
        "sound card and of the e1000, packets changed in a log (minutes each, downloads)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "deadline(seconds): the test fails when it takes longer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = _folder(item)
        if folder is not None:
            item.add_marker(getattr(pytest.mark, folder))


def _folder(item: pytest.Item) -> str | None:
    parts = item.path.relative_to(ROOT).parts if item.path.is_relative_to(ROOT) else ()
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else None


@pytest.fixture(autouse=True)
def _deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends a test that hangs."""
    marker = request.node.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEFAULT_DEADLINE_S.get(_folder(request.node) or "", 300)

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the test's deadline of {seconds} s passed")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Copies the logs of a failed test's machines to build/test-logs/."""
    report = yield
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and isinstance(folder, Path) and folder.is_dir():
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", item.name)
        kept = _keep_logs(folder, LOGS / name)
        if kept:
            report.sections.append(("kept logs", f"{kept} files in {LOGS / name}"))
    del call
    return report


def _keep_logs(source: Path, target: Path) -> int:
    shutil.rmtree(target, ignore_errors=True)
    kept = 0
    for pattern in KEPT:
        for path in source.rglob(pattern):
            if path.is_file() and path.stat().st_size <= KEPT_MAX_BYTES:
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                kept += 1
    return kept
