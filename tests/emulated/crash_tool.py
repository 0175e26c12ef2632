"""crash(8) at a core of Debian's kernel, where its debug package is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

VMLINUX = "/usr/lib/debug/boot/vmlinux-{release}"
# The first version that finds all tasks of a kernel whose `struct pid` ends with a flexible array,
# Linux 6.5 and Debian's 6.1.
SEES_ALL_TASKS = (8, 0, 4)

_COMMANDS = {
    "sys": "sys",
    "ps": "ps",
    "backtrace": "bt",
    "modules": "mod",
    "log": "log",
    "tasks": "list task_struct.tasks -s task_struct.pid -h init_task",
}
_MARK = "== {name} =="


@dataclass(frozen=True)
class Looked:
    """What crash printed."""

    sys: str
    ps: str
    backtrace: str
    modules: str
    log: str
    tasks: str

    @property
    def listed_tasks(self) -> set[int]:
        """The addresses of all tasks, by the kernel's own list."""
        return {int(task, 16) for task in re.findall(r"^([0-9a-f]{16})$", self.tasks, re.MULTILINE)}

    @property
    def ps_tasks(self) -> set[int]:
        """The addresses that ps shows."""
        return {int(task, 16) for task in re.findall(r"\b([0-9a-f]{16})\b", self.ps)}

    @property
    def frames(self) -> tuple[str, ...]:
        """The functions of the backtrace, innermost first."""
        names = re.findall(r"^ *#\d+ \[[0-9a-f]+\] (\S+) at", self.backtrace, re.MULTILINE)
        return tuple(names)


def missing(release: str) -> str:
    """Why crash cannot look at a core of this kernel here; empty when it can."""
    if shutil.which("crash") is None:
        return "there is no crash"
    if not vmlinux(release).exists():
        return f"{vmlinux(release)} is not there (the debug package has 860 MB)"
    return ""


def vmlinux(release: str) -> Path:
    """Where the debug package has the kernel with its debug information."""
    return Path(VMLINUX.format(release=release))


def version() -> tuple[int, ...]:
    """That of crash."""
    said = subprocess.run(["crash", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"^crash (\d+)\.(\d+)\.(\d+)", said, re.MULTILINE)
    assert found is not None, said
    return tuple(int(part) for part in found.groups())


def look(core: Path, release: str) -> Looked:
    """Opens the core as a user does, and carries out some commands."""
    script = "".join(
        f"echo {_MARK.format(name=name)}\n{command}\n" for name, command in _COMMANDS.items()
    )
    done = subprocess.run(
        ["crash", "-s", str(vmlinux(release)), str(core)],
        input=script + "exit\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^== (\w+) ==$", done.stdout, flags=re.MULTILINE)
    said = dict(zip(parts[1::2], parts[2::2], strict=True))
    return Looked(**said)
