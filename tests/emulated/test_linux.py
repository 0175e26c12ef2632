"""Debian's kernel with its own e1000 driver: recorded, replayed, and what that costs."""

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.emulated import crash_tool, tshark
from tests.emulated.gdb_run import debugged
from tests.emulated.gdb_run import number as number_in
from tests.emulated.gdb_session import gdb_at
from tests.emulated.linux_gdb import debug_while_it_receives, load_symbols, look_at_the_driver
from tests.emulated.machine import (
    BOARD,
    assert_identical,
    events_of,
    replay,
    wait_for,
)
from tests.gdb_batch import gdb_words

from lvmm import guest_build, provision, session
from lvmm.crash import read_crash
from lvmm.demo import NetRecording, record_receiving
from lvmm.guest_build import ROOT
from lvmm.linux_modules import in_module_space
from lvmm.logs import Event
from lvmm.netpeer import Traffic
from lvmm.queries.command import Limits, prepared_search
from lvmm.queries.query import parse_query
from lvmm.queries.visit import SearchVisit
from lvmm.recording_dir import read_manifest
from lvmm.replaying import ReplayVerdict
from lvmm.session import RunSettings
from lvmm.vmcore.replay_core import ReplayCore

DEADLINE_S = 600.0
SHORT = "lvmm.race=600000"
SHORT_PACKETS = 50
EVEN_PACKETS = 1000
EVEN = f"{SHORT} reboot=t"  # a triple fault, after the panic
SEARCHED = ("write jiffies_64", "call e1000_clean", "call vfs_write", "call panic")
ENDS = ("crash", "poweroff", "halt")
STOCK_EVERY = 20  # one in so many of the short recordings is of the stock kernel with its network

# The functions from the reset back to init's write to sysrq-trigger.
PANIC = (
    *("native_machine_emergency_restart", "panic", "sysrq_handle_crash", "__handle_sysrq.cold"),
    *("write_sysrq_trigger", "proc_reg_write", "vfs_write", "ksys_write", "do_syscall_64"),
    "entry_SYSCALL_64_after_hwframe",
)

BOOT_LOG_LIMIT = 1_000_000  # bytes; measured are 373,000
LOG_PER_RECEIVED_BYTE_LIMIT = 1.06  # by the bytes of the frames; measured are 1.046

pytestmark = pytest.mark.deadline(1800)

# Tests that share a recording, and so a worker.
of_even_datagrams = pytest.mark.xdist_group("even-datagrams")


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> NetRecording:
    """A recording of 1,024-byte datagrams without pauses."""
    return record_receiving(
        BOARD,
        tmp_path_factory.mktemp("even") / "recording",
        EVEN_PACKETS,
        Traffic(seed=5, size=1024, pauses=False),
        RunSettings(seed=1, timeout_s=DEADLINE_S),
        EVEN,
    )


@dataclass(frozen=True)
class Replayed:
    """A replay of it, the core and symbols of the kernel at its end, and what a search found."""

    verdict: ReplayVerdict
    core: Path
    symbols: Path
    found: dict[str, dict[str, Any]]  # by query


@pytest.fixture(scope="module")
def replayed(even: NetRecording, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    folder = tmp_path_factory.mktemp("replayed")
    core = ReplayCore(folder / "vmcore", folder / "vmcore.symbols")
    queries = [parse_query(text) for text in (*SEARCHED, f"running {interrupted(even).index}")]
    with prepared_search(even.directory, queries, Limits(limit=2)) as search:
        visit = SearchVisit(search, folder / "run" / "ram.img")
        verdict = replay(even.directory, 2, folder / "run", core, visit)
        visit.close()
    assert visit.failure is None
    found = {answer.query.text: answer.facts() for answer in search.answers}
    return Replayed(verdict, folder / "vmcore", folder / "vmcore.symbols", found)


def interrupted(even: NetRecording) -> Event:
    """An interrupt, late in the run."""
    found = [e for e in events_of(even.directory) if e.name == "INTERRUPT" and not e.same_position]
    return found[-10]


@of_even_datagrams
def test_even_datagrams_replay_identically(even: NetRecording, replayed: Replayed) -> None:
    assert even.packets == EVEN_PACKETS
    assert even.manifest.end_reason == "triple-fault"
    assert "Kernel panic" in even.console
    assert_identical(replayed.verdict)


@of_even_datagrams
def test_the_panic_is_explained(even: NetRecording) -> None:
    """The kernel has no frame pointers."""
    report = read_crash(even.directory)
    assert report is not None
    assert report["kernel_offset"] is not None
    names = [(frame["symbol"] or "").partition("+")[0] for frame in report["backtrace"]]
    assert names[0] == "native_machine_emergency_restart"
    path = ("panic", "sysrq_handle_crash", "write_sysrq_trigger", "vfs_write", "ksys_write")
    places = [names.index(name) for name in path]
    assert places == sorted(places)
    assert all(frame["how"] == "stack" for frame in report["backtrace"][1:])


@of_even_datagrams
def test_the_search_has_found_what_the_kernel_did(even: NetRecording, replayed: Replayed) -> None:
    """Its place, names of the module too, types and tasks; the replay is identical for all that."""
    jiffies, clean, write, crash = (replayed.found[text]["findings"] for text in SEARCHED)
    assert [len(each) for each in (jiffies, clean, write, crash)] == [2, 2, 2, 1]
    assert [int(one["new"], 16) - int(one["old"], 16) for one in jiffies] == [1, 1]
    assert jiffies[0]["code"].startswith("do_timer+")
    assert jiffies[0]["task"].startswith("swapper/0/")
    assert clean[0]["code"] == "e1000_clean+0x0 [e1000]"
    names = [argument["name"] for argument in write[0]["arguments"]]
    assert names == ["file", "buf", "count", "pos"]
    (text,) = [argument["text"] for argument in crash[0]["arguments"]]
    assert text.endswith('"sysrq triggered crash\\n"'), text
    crashed = re.search(r"PID: (\d+) Comm: (\S+)", even.console)
    assert crashed is not None
    assert crash[0]["task"] == f"{crashed[2]}/{crashed[1]}"
    due = interrupted(even)
    (running,) = replayed.found[f"running {due.index}"]["findings"]
    assert (running["branches"], running["rip"]) == (due.branches, f"{due.rip:#x}")
    assert running["task"]


@of_even_datagrams
@pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")
def test_gdb_shows_the_panics_backtrace_from_the_core(replayed: Replayed) -> None:
    """All frames from the write to sysrq-trigger to the reset, none invented."""
    words = gdb_words(f"symbol-file {replayed.symbols}", f"core {replayed.core}", "backtrace")
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    backtrace = said[said.rindex("#0 ") :]  # gdb shows frame 0 when it opens the core, too
    frames = re.findall(r"^#\d+ +0x[0-9a-f]+ in (\S+)", backtrace, re.MULTILINE)
    assert tuple(frames[: frames.index("??")]) == PANIC, said


@of_even_datagrams
def test_the_timeline_and_the_console_tell_the_same_run(even: NetRecording, tmp_path: Path) -> None:
    """Every line has its time, and none goes back."""
    tool = [sys.executable, str(ROOT / "tools" / "extract_log.py")]
    words = [*tool, "console", str(even.directory), "--json"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["text"] for line in lines] == even.console.splitlines()
    ended = [line for line in lines if line["seconds"] is not None]
    assert len(ended) >= len(lines) - 1
    seconds = [line["seconds"] for line in ended]
    assert seconds == sorted(seconds)
    files = [str(tmp_path / name) for name in ("trace", "picture.png")]
    words = [*tool, "timeline", str(even.directory), "-o", files[0], "--png", files[1]]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert all(Path(file).stat().st_size > 10_000 for file in files)


@of_even_datagrams
def test_drgn_lists_the_tasks_from_the_core(even: NetRecording, replayed: Replayed) -> None:
    """Without debug information: the kernel's BTF and kallsyms are in its memory."""
    script = (
        "for task in for_each_task(prog): print(task.pid.value_(), task.comm.string_().decode())\n"
        "current = cpu_curr(prog, 0)\n"
        "print('current', current.pid.value_(), current.comm.string_().decode())\n"
        "print('modules', *(m.name.string_().decode() for m in for_each_module(prog)))\n"
        "print('panic', panic_message(prog).decode())\n"
        "by_pid = {pid_task(pid, prog['PIDTYPE_PID']).value_() for pid in for_each_pid(prog)}\n"
        "listed = {task.value_() for task in for_each_task(prog)}\n"
        "print('by PID', 'too' if by_pid == listed else by_pid ^ listed)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "drgn", "--no-default-symbols", "-c", replayed.core, "-e", script],
        env={**os.environ, "DRGN_PLUGINS": f"lvmm={ROOT / 'tools' / 'drgn_lvmm.py'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["1"] == "init"
    assert said["2"] == "kthreadd"
    assert len([name for name in said.values() if name.startswith("kworker/")]) >= 2
    crashed = re.search(r"CPU: 0 PID: (\d+) Comm: (\S+)", even.console)
    assert crashed is not None
    assert said["current"] == f"{crashed[1]} {crashed[2]}"
    assert said["modules"] == "e1000"
    assert said["panic"] in even.console
    assert said["by"] == "PID too", "crash finds tasks by their PIDs only"


@of_even_datagrams
def test_crash_opens_the_core(replayed: Replayed) -> None:
    """With nothing but the debug package's kernel: no word about where KASLR has put it."""
    release = provision.kernel_package("stock").release
    reason = crash_tool.missing(release)
    if reason:
        pytest.skip(reason)
    said = crash_tool.look(replayed.core, release)
    assert "Kernel panic - not syncing: sysrq triggered crash" in said.sys
    assert said.frames[:8] == PANIC[1:9], "from panic to the system call"
    assert "e1000" in said.modules
    assert "sysrq: Trigger a crash" in said.log
    assert len(said.listed_tasks) > 20
    if crash_tool.version() >= crash_tool.SEES_ALL_TASKS:
        assert said.ps_tasks == said.listed_tasks


@of_even_datagrams
def test_log_size(even: NetRecording) -> None:
    assert even.log_bytes_boot <= BOOT_LOG_LIMIT
    assert even.log_bytes_per_received_byte <= LOG_PER_RECEIVED_BYTE_LIMIT


@of_even_datagrams
@pytest.mark.skipif(shutil.which("tshark") is None, reason="there is no tshark")
def test_tshark_decodes_the_datagrams(even: NetRecording, tmp_path: Path) -> None:
    """Those that the peer sent, in order, and the answers. Linux lets the card store the CRCs."""
    tshark.write_pcap(even.directory, tmp_path / "net.pcapng")
    frames = tshark.decode(tmp_path / "net.pcapng")
    datagrams = [frame for frame in frames if frame.inbound and frame.payload]
    digest = hashlib.sha256(b"".join(frame.payload for frame in datagrams)).hexdigest()
    assert digest == even.peer.digest
    assert sum(len(frame.data) for frame in datagrams) == even.peer.frame_bytes
    answers = [frame.payload for frame in frames if not frame.inbound and frame.payload]
    assert answers[-1] == b"ACK!" + EVEN_PACKETS.to_bytes(4, "big")
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(frames))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many short recordings as --linux-recordings says."""
    if "number" in metafunc.fixturenames:
        count = metafunc.config.getoption("--linux-recordings")
        metafunc.parametrize("number", range(count))


def test_short_workload_replays_identically(number: int, tmp_path: Path) -> None:
    """One recording, replayed with another seed; gdb is at the stock kernel's while it is made."""
    directory = tmp_path / "recording"
    guest_settings = f"{SHORT} lvmm.end={ENDS[number % len(ENDS)]}"
    settings = RunSettings(seed=100 + number, timeout_s=DEADLINE_S)
    if number % STOCK_EVERY == 0:
        output, command = tmp_path / "record", ["record", "-o", directory, "--seed", 100 + number]
        traffic = Traffic(seed=number)
        peer = debug_while_it_receives(output, command, guest_settings, SHORT_PACKETS, traffic)
        manifest = read_manifest(directory)
        console = (directory / manifest.console.path).read_text(errors="replace")
        NetRecording(directory, manifest, peer, console).check()
        assert not manifest.altered
    else:
        guest = guest_build.small_linux_guest(BOARD, guest_settings)
        session.record(BOARD, guest, settings, directory)
    assert_identical(replay(directory, 200 + number, tmp_path / "replay"))
    shutil.rmtree(directory)


@of_even_datagrams
@pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")
def test_a_replay_under_gdb_stays_identical(even: NetRecording, tmp_path: Path) -> None:
    """Breaks in the driver, by names recovered from memory; leaves, comes back, steps, watches."""
    in_driver = next(
        e.rip for e in events_of(even.directory) if e.name == "MMIO_READ" and in_module_space(e.rip)
    )
    output = tmp_path / "replay"
    console = output.with_suffix(".out")
    log = output.with_suffix(".gdb.log")
    with debugged(output, "replay", even.directory) as run, gdb_at(run.port, log) as gdb:
        gdb.do(f"hbreak *{in_driver:#x}", "continue", "delete")
        load_symbols(gdb)
        assert "in section e1000" in gdb.do("info symbol $pc")
        gdb.do("disconnect", f"target remote :{run.port}")
        look_at_the_driver(gdb)
        position = number_in(gdb.do("monitor when"), r"branches +(\d+)")
        said = gdb.do("detach", f"target remote :{run.port}", "monitor when")
        assert "detached" in said
        assert number_in(said, r"branches +(\d+)") > position
        gdb.begin("continue")
        wait_for(lambda: b"received 512" in console.read_bytes(), DEADLINE_S, "half of them")
        assert "Program received signal SIGINT" in gdb.interrupt()
        said = gdb.do("continue")
        assert "No more reverse-execution history" in said, "the end of the recording"
        gdb.do("detach")
        assert run.ended() == 0, run.said
    assert "identical" in console.read_text()
