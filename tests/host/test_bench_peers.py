"""What `lvmm bench --peers` computes and tells, from generated runs; no QEMU is needed."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from lvmm import provision
from lvmm.bench import peers, peers_report, qemu
from lvmm.bench.peers_report import Sample
from lvmm.bench.qemu import Limits, Mode, Outcome, QemuMark, QemuRun
from lvmm.demo import DIGEST_MARK, NETWORK_MARK
from lvmm.errors import EnvironmentProblem
from lvmm.guest import Guest
from lvmm.netpeer import PeerResult
from lvmm.session import BOOT_MARK

pytestmark = pytest.mark.host

MARKS = (BOOT_MARK, NETWORK_MARK, DIGEST_MARK)
DIGEST = "ab" * 32
CONSOLE = f"lvmm: init\r\nlvmm: digest {DIGEST} packets 10 bytes 10240\r\nlvmm: end\r\n".encode()
SENT = PeerResult(requested=10, sent=10, acknowledged=10, frame_bytes=10_000, digest=DIGEST)
RECORDED = QemuRun(
    outcome=Outcome.FINISHED,
    wall_s=15.0,
    cpu_s=9.0,
    log_bytes=50_000,
    console=CONSOLE,
    ram=Path("/nonexistent"),
    marks={
        BOOT_MARK: QemuMark(10.0, 7.0, 20_000),
        NETWORK_MARK: QemuMark(11.0, 7.5, 25_000),
        DIGEST_MARK: QemuMark(13.0, 8.0, 40_000),
    },
)


def sample(
    boot_s: float, run_s: float, result: str = "digest right", more: dict[str, float] | None = None
) -> Sample:
    figures = {"boot_s": boot_s, "boot_cpu_s": boot_s / 2, "receive_s": 1.0, "run_s": run_s}
    return Sample({**figures, **(more or {})}, result)


def test_figures_of_a_recording() -> None:
    moments = {
        text: peers.Moment(mark.wall_s, mark.cpu_s, mark.log_bytes)
        for text, mark in RECORDED.marks.items()
    }
    figures = peers.sample_of(moments, 15.0, 50_000, 10_000, "digest right").figures
    assert figures == {
        "run_s": 15.0,
        "boot_s": 10.0,
        "boot_cpu_s": 7.0,
        "receive_s": 2.0,
        "log_bytes": 50_000,
        "boot_log_bytes": 20_000,
        "log_per_byte": 1.5,
    }
    del moments[DIGEST_MARK]
    assert peers.sample_of(moments, None, None, 0, "hung").figures == {
        "boot_s": 10.0,
        "boot_cpu_s": 7.0,
    }


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, "digest right"),
        ({"acknowledged": 8}, "8 of 10 datagrams acknowledged"),
        ({"digest": "cd" * 32}, "digest WRONG"),
        ({"errors": ["cannot send"]}, "peer: cannot send"),
    ],
)
def test_whether_the_guest_received_it(changes: dict[str, object], result: str) -> None:
    assert peers.received_right(dataclasses.replace(SENT, **changes), CONSOLE) == result  # type: ignore[arg-type]


PAGES = bytes(qemu.PAGE) + b"m" * qemu.PAGE


@pytest.mark.parametrize(
    ("changes", "pages", "result"),
    [
        ({}, PAGES, "identical"),
        ({}, PAGES[:-1] + b"n", "finished: console the same, 1 pages of memory different"),
        ({"console": CONSOLE[:9]}, PAGES + b"1", "console shorter, 1 pages"),
        ({"console": b"other"}, b"", "console different, 2 pages"),
        ({"outcome": Outcome.HUNG}, b"", f"hung after '{DIGEST_MARK}', console the same"),
        (
            {"outcome": Outcome.HUNG, "marks": {}, "console": b"lv"},
            b"",
            "hung before init, console",
        ),
        ({"outcome": Outcome.FAILED, "message": "Missing clock"}, b"", "failed: Missing clock"),
    ],
)
def test_how_a_replay_ended(
    changes: dict[str, object], pages: bytes, result: str, tmp_path: Path
) -> None:
    one, other = tmp_path / "record.ram", tmp_path / "replay.ram"
    one.write_bytes(PAGES)
    other.write_bytes(pages)
    recorded = dataclasses.replace(RECORDED, ram=one)
    replayed = dataclasses.replace(RECORDED, ram=other, **changes)  # type: ignore[arg-type]
    said = peers.replayed_like(recorded, replayed)
    assert said == result if result == "identical" else result in said


def test_ratios_are_within_a_system_and_a_repetition() -> None:
    right = "digest right"
    logs: dict[str, float] = {"boot_log_bytes": 20_000, "log_bytes": 50_000, "log_per_byte": 1.5}
    samples = {
        ("lvmm", "native"): [sample(10, 12), sample(20, 24)],
        ("lvmm", "record"): [
            sample(11, 14, right, {**logs, "log_per_1000": 0.25}),
            sample(24, 28, right, {**logs, "log_per_1000": 0.25}),
        ],
        ("lvmm", "replay"): [sample(5.5, 7, "identical"), sample(12, 14, "DIFFERENT")],
        ("QEMU", "plain"): [sample(4, 5), sample(4, 5)],
        ("QEMU", "record"): [sample(8, 9, right, logs), sample(8, 9, right, logs)],
        ("QEMU", "replay"): [
            Sample({"boot_s": 40}, "hung after 'lvmm: end', console the same"),
            Sample({}, "hung before init, console shorter"),
        ],
    }
    runs, ratios, papers = peers_report.sections(samples, 10, 1024)
    table = runs.table()
    assert "1 x identical; 1 x DIFFERENT" in table
    assert "10 UDP datagrams of 1,024 bytes" in table
    rows = {row["what"]: row for row in runs.as_json()["rows"]}
    assert rows["QEMU replay"]["metrics"]["run_s"] is None
    assert rows["lvmm record"]["metrics"]["log_bytes"]["median"] == 50_000
    assert rows["lvmm native"]["metrics"]["log_bytes"] is None
    assert rows["QEMU plain"]["result"] == "digest right"
    by_system = {row["what"]: row["metrics"] for row in ratios.as_json()["rows"]}
    assert by_system["lvmm"]["record_boot"]["values"] == pytest.approx([1.1, 1.2])
    assert by_system["lvmm"]["replay_run"]["values"] == pytest.approx([0.5, 0.5])
    assert by_system["QEMU"]["record_boot"]["median"] == 2
    assert by_system["QEMU"]["replay_boot"]["values"] == [5]
    assert by_system["QEMU"]["replay_boot_cpu"] is None
    assert by_system["QEMU"]["replay_run"] is None
    assert by_system["target of lvmm"]["record_boot"]["median"] == 1.15
    own = {row["what"]: row["metrics"]["here"] for row in papers.as_json()["rows"]}
    (per_instruction,) = [what for what in own if "1,000 instructions" in what]
    assert own[per_instruction]["median"] == 0.25
    assert "published" in papers.table()


GUEST = Guest("linux", Path("/k/vmlinuz"), "console=ttyS0", 256, (Path("/k/initrd"),))


def test_the_same_guest_on_the_same_cable(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    plain = qemu.command(Path("/bin/qemu"), GUEST, Mode.PLAIN, 4000, folder)
    assert plain[plain.index("-kernel") + 1] == "/k/vmlinuz"
    assert plain[plain.index("-append") + 1] == "console=ttyS0"
    assert plain[plain.index("-initrd") + 1] == "/k/initrd"
    assert "socket,id=cable,udp=127.0.0.1:4001,localaddr=127.0.0.1:4000" in plain
    assert not any("rrfile" in word or "replay" in word for word in plain)
    recording = qemu.command(Path("/bin/qemu"), GUEST, Mode.RECORD, 4000, folder)
    doubled = str(folder).replace(",", ",,")
    icount = f"shift=auto,rr=record,rrfile={doubled}/{qemu.RECORDING}"
    same = [word.replace("plain.ram", "record.ram") for word in plain]
    recorder = "filter-replay,id=replay,netdev=cable"
    assert recording == [*same, "-icount", icount, "-object", recorder]


# In QEMU's place, in its folder: with the arguments that qemu.command() gives.
SCRIPTS = {
    Outcome.FINISHED: "printf 'lvmm: init\\r\\n' > console.log; printf abc > recording.rr\n"
    "sleep 0.5; printf 'lvmm: end\\r\\n' >> console.log; printf memory > record.ram",
    Outcome.HUNG: "printf 'lvmm: init\\nlvmm: end\\n' > console.log; exec sleep 600",
    Outcome.FAILED: "echo 'first words' >&2; echo 'Missing random event' >&2; exit 1",
}


@pytest.mark.parametrize("outcome", list(SCRIPTS))
def test_how_a_run_ends(outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "qemu-system-x86_64"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\n{SCRIPTS[outcome]}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    end_s = 0.2 if outcome is Outcome.HUNG else 300.0
    limits = Limits(300.0, "lvmm: end", end_s)
    run = qemu.run(GUEST, Mode.RECORD, 4000, tmp_path, (BOOT_MARK, DIGEST_MARK), limits)
    assert run.outcome is outcome
    if outcome is Outcome.FAILED:
        assert run.message == "Missing random event"
        assert not run.marks
        return
    assert set(run.marks) == {BOOT_MARK, "lvmm: end"}
    assert run.wall_s >= run.marks["lvmm: end"].wall_s >= run.marks[BOOT_MARK].wall_s
    if outcome is Outcome.FINISHED:
        assert run.log_bytes == run.marks["lvmm: end"].log_bytes == 3
        assert run.ram.read_bytes() == b"memory"


def test_qemu_is_installed_by_name_or_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def refuse(names: tuple[str, ...]) -> None:
        asked.append(names)
        raise EnvironmentProblem("apt-get could not install it: no network")

    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(provision, "ensure_packages", refuse)
    with pytest.raises(EnvironmentProblem, match=r"the peers need QEMU: .*no network"):
        provision.qemu()
    assert asked == [("qemu-system-x86",)]
    monkeypatch.setattr(provision, "ensure_packages", lambda _names: None)
    with pytest.raises(EnvironmentProblem, match="there is no qemu-system-x86_64 in PATH"):
        provision.qemu()
