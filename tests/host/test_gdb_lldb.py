"""Real LLDB against the server over a fake guest, where LLDB is installed."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from tests.host.gdb_fake_target import CODE, RAM, FakeTarget, eventually, serving

pytestmark = pytest.mark.skipif(shutil.which("lldb") is None, reason="there is no lldb")


def lldb(port: int, *commands: str) -> str:
    """What LLDB says to these commands, stderr included."""
    words = ["lldb", "--no-lldbinit", "--batch", "-o", f"gdb-remote {port}"]
    for command in commands:
        words += ["-o", command]
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def test_a_session() -> None:
    target = FakeTarget(writes_at={CODE + 0x30: (RAM + 0x4000, b"\x01\x02\x03\x04")})
    with serving(target) as (server, said):
        output = lldb(
            server.port,
            *("register read rbx cr3 xmm3", f"breakpoint set -a {CODE + 16:#x}", "continue"),
            *("stepi", "register read rip", "register write rax 0x77", "register read rax"),
            *(f"memory write {RAM + 0x4010:#x} 0x41", f"memory read {RAM + 0x4010:#x}"),
            f"watchpoint set expression -w write -s 4 -- {RAM + 0x4000:#x}",
            *("continue", "process plugin packet monitor when", "detach"),
        )
        eventually(lambda: said == ["gdb is connected", "gdb has detached"])
    assert f"rbx = {target.values['rbx']:#018x}" in output
    assert f"cr3 = {target.values['cr3']:#018x}" in output
    assert "xmm3 = {0x30 0x31 0x32" in output
    assert "stop reason = breakpoint 1.1" in output
    assert f"rip = {CODE + 17:#018x}" in output
    assert "rax = 0x0000000000000077" in output
    assert re.search(rf"{RAM + 0x4010:#010x}: 41 90", output)
    assert "stop reason = watchpoint 1" in output
    assert "answer to when" in output
    assert "Assertion failed" not in output
    assert not target.breakpoints
