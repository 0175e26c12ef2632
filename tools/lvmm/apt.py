"""Debian's and Ubuntu's package tool, as far as the set-up needs it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lvmm.errors import EnvironmentProblem
from lvmm.messages import say

_SOURCES = Path("/etc/apt/sources.list")
_SOURCES_PARTS = Path("/etc/apt/sources.list.d")
_DEFAULT_KEYRINGS = {
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}


def os_release() -> dict[str, str]:
    """The fields of /etc/os-release; empty where there is none."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those of `names` that are not installed."""
    if not shutil.which("dpkg-query"):
        return list(names)
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Provides} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    installed: set[str] = set()
    for line in query.stdout.splitlines():
        words = line.replace(",", " ").split()
        if words[-1] == "installed":
            installed.update(words[:-1])
    return [name for name in names if name not in installed]


def ensure_packages(names: Sequence[str]) -> None:
    """Install those of `names` that are missing. Raises EnvironmentProblem where that fails."""
    missing = missing_packages(names)
    if not missing:
        return
    listed = " ".join(missing)
    if not shutil.which("apt-get"):
        raise EnvironmentProblem(f"this system has no apt; install the equivalents of: {listed}")
    prefix = _root_prefix(f"needed packages are missing: {listed}")
    say(f"installing packages: {listed}")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    if _run_as_root(prefix, command):
        _run_as_root(prefix, ["apt-get", "update", "-q"])
        error = _run_as_root(prefix, command)
        if error:
            raise EnvironmentProblem(f"apt-get could not install {listed}: {error}")


def update() -> None:
    """Refresh the system's package lists."""
    error = _run_as_root(_root_prefix("the package lists are empty"), ["apt-get", "update", "-q"])
    if error:
        raise EnvironmentProblem(f"apt-get update failed: {error}")


def _root_prefix(why: str) -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        # Ask for a password only where somebody can type one.
        return ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]
    raise EnvironmentProblem(f"{why}; installing needs root or sudo")


def _run_as_root(prefix: list[str], command: list[str]) -> str:
    """Run and return "" or the most telling line of the output."""
    environment = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    return run_quietly([*environment, *command])


def run_quietly(command: Sequence[str], cwd: Path | None = None) -> str:
    """Run and return "" on success, else the most telling line of the output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        stdin=None if sys.stdin.isatty() else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E:", "sudo:"))] or lines
    return telling[0] if telling else f"status {done.returncode}"


def archive_entries(
    sources: Path = _SOURCES, parts: Path = _SOURCES_PARTS
) -> list[tuple[str, str]]:
    """The distribution's own archives in apt's configuration, as (URI, keyring or "").

    Archives that carry no whole suite (security, updates of another host) are left out.
    """
    entries: list[tuple[str, str]] = []
    files = [sources, *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            continue
        entries += _stanzas(text) if path.suffix == ".sources" else _one_lines(text)
    kept = []
    for uri, keyring in entries:
        tail = uri.rstrip("/").rsplit("/", 1)[-1].removesuffix(".list")
        if tail in _DEFAULT_KEYRINGS:
            kept.append((uri, keyring or _DEFAULT_KEYRINGS[tail]))
    return list(dict.fromkeys(kept))


def _one_lines(text: str) -> list[tuple[str, str]]:
    entries = []
    for line in text.splitlines():
        match = re.match(r"\s*deb(?:-src)?\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+\S+\s+(.*)", line)
        if match and "main" in match[3].split():
            signed = re.search(r"signed-by=(\S+)", match[1] or "")
            entries.append((match[2], signed[1] if signed else ""))
    return entries


def _stanzas(text: str) -> list[tuple[str, str]]:
    entries = []
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[key] = f"{fields.get(key, '')}\n{line}"
            elif ":" in line:
                key, value = line.split(":", 1)
                key = key.lower()
                fields[key] = value.strip()
        if "main" not in fields.get("components", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        signed = fields.get("signed-by", "")
        if not signed.startswith("/"):  # a key given in the stanza itself
            signed = ""
        entries += [(uri, signed) for uri in fields.get("uris", "").split()]
    return entries


class SourceArchive:
    """Source packages of one suite, through an apt state of its own in `directory`."""

    def __init__(self, directory: Path, uri: str, keyring: str, suite: str) -> None:
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        sources = directory / "sources.list"
        signed = f"[signed-by={keyring}] " if keyring and Path(keyring).exists() else ""
        sources.write_text(f"deb-src {signed}{uri} {suite} main\n", encoding="utf-8")
        self._options = [
            f"-oDir::Etc::sourcelist={sources}",
            f"-oDir::Etc::sourceparts={directory / 'parts'}",
            f"-oDir::State::lists={directory / 'lists'}",
            f"-oDir::Cache={directory / 'cache'}",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
        ]

    def update(self) -> str:
        """Fetch the lists; "" or what went wrong."""
        return run_quietly(["apt-get", *self._options, "-q", "--error-on=any", "update"])

    def upstream_tarball(self, package: str) -> tuple[str, str] | None:
        """(file name, SHA256 in hex) of the package's upstream source, None where there is none."""
        done = subprocess.run(
            ["apt-get", *self._options, "-q", "source", "--tar-only", "--print-uris", package],
            capture_output=True,
            text=True,
            check=False,
        )
        pattern = r"^'\S+' (\S+\.orig\.tar\.\w+) \d+ SHA256:([0-9a-f]{64})"
        match = re.search(pattern, done.stdout, re.M)
        return (match[1], match[2]) if match else None

    def download_tarball(self, package: str, directory: Path) -> str:
        """Download the upstream source into `directory`; "" or what went wrong."""
        command = ["apt-get", *self._options, "-q", "source", "--tar-only", "--download-only"]
        return run_quietly([*command, package], cwd=directory)
