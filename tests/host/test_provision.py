"""Set-up: apt's configuration read right, failures told in one line, two runs at once."""

import hashlib
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lvmm import apt, cache, provision
from lvmm.emulator_stats import parse_stats
from lvmm.errors import EnvironmentProblem, MachineError

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_one_line_sources(tmp_path: Path) -> None:
    write(
        tmp_path / "sources.list",
        "# comment\n"
        "deb http://mirror.example/debian bookworm main contrib\n"
        "deb [arch=amd64 signed-by=/k.gpg] https://other.example/debian/ bookworm main\n"
        "deb http://mirror.example/debian-security bookworm-security main\n"
        "deb http://mirror.example/debian bookworm-updates main\n"
        "deb http://vendor.example/tool stable main\n",
    )
    assert apt.archive_entries(tmp_path / "sources.list", tmp_path / "none") == [
        ("http://mirror.example/debian", DEBIAN_KEYRING),
        ("https://other.example/debian/", "/k.gpg"),
    ]


def test_deb822_sources(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    write(
        parts / "debian.sources",
        "Types: deb deb-src\n# comment\nURIs: http://mirror.example/debian\n"
        "Suites: trixie trixie-updates\nComponents: main non-free-firmware\n"
        f"Signed-By: {DEBIAN_KEYRING}\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: trixie\n"
        "Components: main\n\n"
        "Types: deb\nURIs: http://inline.example/debian\nSuites: trixie\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n",
    )
    write(
        parts / "ubuntu.sources",
        "Types: deb\n"
        "URIs: http://archive.example/ubuntu/ mirror+file:/etc/apt/mirrors/debian.list\n"
        "Suites: noble\nComponents: main universe\n",
    )
    assert apt.archive_entries(tmp_path / "none", parts) == [
        ("http://mirror.example/debian", DEBIAN_KEYRING),
        ("http://inline.example/debian", DEBIAN_KEYRING),
        ("http://archive.example/ubuntu/", "/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
        ("mirror+file:/etc/apt/mirrors/debian.list", DEBIAN_KEYRING),
    ]


def stub(directory: Path, name: str, script: str) -> None:
    write(directory / name, f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


def test_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(
        tmp_path,
        "dpkg-query",
        "echo 'one  installed'; echo 'two virtual, other installed'; echo 'gone  config-files'",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert apt.missing_packages(["one", "two", "gone", "never"]) == ["gone", "never"]


def test_no_apt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="has no apt; install the equivalents of: xorriso"):
        apt.ensure_packages(["xorriso"])


def test_neither_root_nor_sudo_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, "apt-get", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EnvironmentProblem, match="missing: xorriso; installing needs root or sudo"):
        apt.ensure_packages(["xorriso"])


def test_failing_install_quotes_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, "dpkg-query", "exit 1")
    stub(tmp_path, "apt-get", "echo Reading; echo 'E: Unable to locate package xorriso'; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(EnvironmentProblem, match="xorriso: E: Unable to locate package xorriso"):
        apt.ensure_packages(["xorriso"])


def test_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path / "a"))
    assert cache.cache_dir() == tmp_path / "a"
    monkeypatch.delenv("LVMM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache.cache_dir() == tmp_path / "b" / "lvmm"
    write(tmp_path / "file", "")
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path / "file" / "c"))
    with pytest.raises(EnvironmentProblem, match="cannot create the cache directory"):
        cache.cache_dir()


class FakeBuild:
    """Stands in for the real build: slow, counted."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, directory: Path) -> None:
        self.runs += 1
        time.sleep(0.3)
        directory.mkdir()
        (directory / "bochs").write_text("")


def test_two_runs_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path))
    write(tmp_path / "bios", "")
    monkeypatch.setattr(provision, "_BIOS", tmp_path / "bios")
    monkeypatch.setattr(provision, "_VGA_BIOS", tmp_path / "bios")
    build = FakeBuild()
    monkeypatch.setattr(provision, "_build_bochs", build)
    programs = []
    runs = [
        threading.Thread(target=lambda: programs.append(provision.bochs().program))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert build.runs == 1
    assert len(set(programs)) == 1 and programs[0].exists()


def test_module_change_makes_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "pmu.cc", "1")
    monkeypatch.setattr(provision, "_MODULE", tmp_path)
    first = provision._bochs_key()
    assert first == provision._bochs_key()
    write(tmp_path / "pmu.cc", "2")
    assert first != provision._bochs_key()


def test_failed_build_keeps_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "tree"
    stub(tree, "configure", "echo 'checking for g++'; echo 'configure: error: no g++'; exit 77")
    tarball = tmp_path / "bochs_3.9.orig.tar"
    subprocess.run(["tar", "-cf", tarball, "-C", tmp_path, "tree"], check=True)
    monkeypatch.setattr(provision, "ensure_packages", lambda _names: None)
    monkeypatch.setattr(provision, "_bochs_source", lambda: tarball)
    with pytest.raises(EnvironmentProblem, match=r"is not as breakpoints\.patch expects"):
        provision.bochs()
    monkeypatch.setattr(provision, "_PATCHES", tmp_path / "patches")
    (tmp_path / "patches").mkdir()
    with pytest.raises(EnvironmentProblem, match="failed: configure: error: no g") as caught:
        provision.bochs()
    log = tmp_path / "cache" / "bochs-build.log"
    assert str(log) in str(caught.value)
    assert "checking for g++" in log.read_text()
    assert not list((tmp_path / "cache").glob("b*-*/bochs")), "nothing half-built is left"


def test_source_comes_from_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too old a version is passed over; a wrong checksum is refused."""
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path / "cache"))
    content = b"source"
    right = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(
        apt, "archive_entries", lambda: [("http://x/debian", "old"), ("http://y/debian", "new")]
    )
    monkeypatch.setattr(apt, "os_release", dict)
    monkeypatch.setattr(shutil, "which", lambda name: name)

    def make(checksum: str) -> type:
        class Archive:
            def __init__(self, state: Path, uri: str, keyring: str, suite: str) -> None:
                self.keyring = keyring

            def update(self) -> str:
                return ""

            def upstream_tarball(self, package: str) -> tuple[str, str]:
                version = "2.7" if self.keyring == "old" else "3.0"
                return f"bochs_{version}+dfsg.orig.tar.xz", checksum

            def download_tarball(self, package: str, directory: Path) -> str:
                (directory / "bochs_3.0+dfsg.orig.tar.xz").write_bytes(content)
                return ""

        return Archive

    monkeypatch.setattr(apt, "SourceArchive", make("0" * 64))
    with pytest.raises(EnvironmentProblem, match="has not the checksum"):
        provision._bochs_source()
    monkeypatch.setattr(apt, "SourceArchive", make(right))
    assert provision._bochs_source().read_bytes() == content
    monkeypatch.setattr(apt, "SourceArchive", None)  # not needed any more
    assert provision._bochs_source().read_bytes() == content


def test_foreign_statistics_are_refused() -> None:
    with pytest.raises(MachineError, match="left no statistics"):
        parse_stats(b"LVMM")
    with pytest.raises(MachineError, match="another format"):
        parse_stats(bytes(4096))


def launch(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "lvmm"), "--help"],
        env={"PATH": str(path), "LVMM_CACHE": str(cache), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with the shell's usual tools, but neither Python nor apt."""
    path = tmp_path / "bin"
    path.mkdir()
    for tool in ("sh", "dirname", "readlink", "mkdir", "id", "sha256sum", "cut", "cat", "grep"):
        for place in ("/usr/bin", "/bin"):
            if Path(place, tool).exists():
                (path / tool).symlink_to(Path(place, tool))
                break
    return path


def test_launcher_without_cache_directory(tmp_path: Path, bare_path: Path) -> None:
    write(tmp_path / "file", "")
    done = launch(bare_path, tmp_path / "file" / "cache")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot write to the cache directory" in done.stderr
