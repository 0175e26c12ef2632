"""Real gdb against the server over a fake guest."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gdb_batch import gdb_words
from tests.host.gdb_fake_target import (
    CODE,
    CODE_32,
    END,
    MMIO,
    RAM,
    STACK,
    FakeTarget,
    eventually,
    serving,
)

from lvmm.gdb.registers import I386
from lvmm.gdb.target import Stop, StopReason

pytestmark = pytest.mark.skipif(shutil.which("gdb") is None, reason="there is no gdb")

VARIABLE = RAM + 0x4000


def command(port: int, *commands: str, file: Path | None = None) -> list[str]:
    first = [f"file {file}"] if file else []
    return gdb_words("set pagination off", *first, f"target remote :{port}", *commands)


def gdb(port: int, *commands: str, file: Path | None = None) -> str:
    """What gdb says to these commands, stderr included."""
    done = subprocess.run(
        command(port, *commands, file=file),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout
    return done.stdout


@contextlib.contextmanager
def running(port: int, *commands: str) -> Iterator[subprocess.Popen[str]]:
    """A gdb that is still at it; killed at the end."""
    process = subprocess.Popen(
        command(port, *commands),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def session(target: FakeTarget, *commands: str) -> str:
    with serving(target) as (server, said):
        output = gdb(server.port, *commands)
        eventually(lambda: len(said) == 2)
        assert said == ["gdb is connected", "gdb has detached"]
    return output


def test_general_and_system_registers() -> None:
    target = FakeTarget()
    output = session(target, "info registers")
    for name in ("rax", "r15", "cs", "fs_base", "cr2", "cr8", "dr3"):
        assert re.search(rf"^{name} +{target.values[name]:#x} ", output, re.M), name
    assert re.search(rf"^k_gs_base +{target.values['kernel_gs_base']:#x} ", output, re.M)
    assert re.search(rf"^rip +{CODE:#x} ", output, re.M)
    assert re.search(r"^cr0 +0x11 +\[ PE ET \]", output, re.M)
    assert re.search(r"^efer +0x400 +\[ LMA \]", output, re.M)
    assert "fpu" not in target.calls
    assert "unknown type" not in output and "warning: while parsing" not in output


def test_all_registers() -> None:
    target = FakeTarget()
    image = bytearray(target.xsave)
    image[32:42] = bytes.fromhex("00000000000000c00040")  # 3.0 in ST(0)
    image[4] = 1
    target.xsave = bytes(image)
    output = session(target, "info all-registers", "p/x $xmm3.uint128", "p/x $ymm2.v2_int128[1]")
    assert re.search(r"^st0 +3 +\(raw 0x4000c000000000000000\)", output, re.M)
    assert re.search(r"^fctrl +0x37f ", output, re.M)
    assert re.search(r"^ftag +0xfffc ", output, re.M)
    assert re.search(r"^mxcsr +0x1f80 +\[ IM DM ZM OM UM PM", output, re.M)
    assert f"$1 = {int.from_bytes(range(48, 64), 'little'):#x}" in output
    assert f"$2 = {int.from_bytes(range(223, 207, -1), 'little'):#x}" in output
    assert target.calls.count("fpu") == 1


def test_writing_registers() -> None:
    target = FakeTarget()
    session(
        target,
        *("set var $rax = 5", "set var $xmm1.v2_int64[0] = 7", "set var $ymm3.v4_int64[3] = 9"),
        *("set var $cr2 = 0x1234", "set var $eflags = 0x46"),
    )
    assert (target.values["rax"], target.values["cr2"]) == (5, 0x1234)
    assert target.values["rflags"] == 0x46
    assert target.xsave[176:192] == (7).to_bytes(8, "little") + bytes(range(24, 32))
    assert target.xsave[576 + 56 : 576 + 64] == (9).to_bytes(8, "little")


def test_memory_and_disassembly() -> None:
    target = FakeTarget()
    target.memory[0x4000:0x4004] = b"\x01\x02\x03\x04"
    output = session(
        target,
        *(f"x/2i {END - 1:#x}", f"x/wx {VARIABLE:#x}", f"set var *(short*){VARIABLE:#x} = 0x4142"),
        *(f"x/wx {VARIABLE:#x}", f"find /b {RAM:#x}, +0x8000, 0x41", f"x/x {RAM - 1:#x}"),
    )
    assert re.search(rf"{END - 1:#x}:\s+nop\n\s+{END:#x}:\s+jmp +{END:#x}", output)
    assert f"{VARIABLE:#x}:\t0x04030201" in output
    assert f"{VARIABLE:#x}:\t0x04034142" in output
    assert f"{VARIABLE + 1:#x}\n1 pattern found" in output
    assert f"Cannot access memory at address {RAM - 1:#x}" in output


def test_gdb_stays_off_mmio() -> None:
    target = FakeTarget()
    output = session(target, f"x/x {MMIO:#x}", f"x/x {MMIO + 0xFFC:#x}")
    assert output.count("Cannot access memory") == 2
    assert not target.touched_mmio


def test_breakpoints_step_and_continue() -> None:
    target = FakeTarget()
    output = session(
        target,
        *(f"hbreak *{CODE + 16:#x}", f"break *{CODE + 32:#x}", "continue", "continue", "stepi"),
        *("p $pc", "delete 2", "info breakpoints", f"jump *{CODE:#x}"),
    )
    assert re.search(rf"Breakpoint 1, {CODE + 16:#018x} in", output)
    assert re.search(rf"Breakpoint 2, {CODE + 32:#018x} in", output)
    assert f"{CODE + 33:#x}" in output
    assert "already hit 1 time" in output
    assert output.count("Breakpoint 1,") == 2
    assert not target.breakpoints and target.stop is None
    assert f"set SOFTWARE {CODE + 32:#x} 1" in target.calls


@pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
def test_steps_by_source_line(tmp_path: Path) -> None:
    lines = "_start: nop; nop; nop; nop\nnop; nop; nop\nnop; nop; nop\nnop\n.globl _start\n"
    file = assembled(tmp_path, lines, "--64", "elf_x86_64")
    target = FakeTarget()
    with serving(target) as (server, _):
        output = gdb(server.port, "next", "break *$pc+1", "step", "p $pc", "step", file=file)
    assert f"$1 = (void (*)()) {CODE + 5:#x}" in output
    assert re.search(r"^3\s+nop; nop; nop", output, re.M)
    assert target.calls.count("step") == 7


def assembled(folder: Path, source: str, bits: str, emulation: str) -> Path:
    """An ELF file with line numbers, at CODE."""
    (folder / "guest.s").write_text(source)
    for words in (
        ("as", bits, "-g", "-o", "guest.o", "guest.s"),
        ("ld", "-m", emulation, f"-Ttext={CODE:#x}", "-o", "guest.elf", "guest.o"),
    ):
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder / "guest.elf"


def test_watchpoints() -> None:
    target = FakeTarget()
    target.memory[0x4000:0x4100] = bytes(0x100)
    target.writes_at = {CODE + 9 + i: (VARIABLE + 8 * i, b"\x07") for i in range(6)}
    watches = [f"watch *(long*){VARIABLE + 8 * i:#x}" for i in range(6)]  # four is no limit
    output = session(target, *watches, *["continue"] * 6, "awatch *(char*)0x100000", "p $pc")
    for number in range(1, 7):
        assert re.search(
            rf"Hardware watchpoint {number}: .*\n\nOld value = 0\nNew value = 7", output
        )
    assert "Hardware access (read/write) watchpoint 7" in output
    assert f"{CODE + 15:#x}" in output


def test_interrupt_at_the_terminal() -> None:
    target = FakeTarget()
    with serving(target) as (server, _):
        with running(server.port, "continue", "p $pc", "detach") as process:
            eventually(lambda: target.values["rip"] == END and target.stop is None)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=60)[0]
        assert "Program received signal SIGINT" in output
        assert f"{END:#x}" in output


def test_monitor_commands() -> None:
    output = session(FakeTarget(), "monitor help", "monitor translate 0x1000", "monitor nothing")
    assert "force-writes on|off" in output
    assert "answer to translate 0x1000" in output
    assert "There is no command 'nothing'" in output


def test_a_replay_says_why_it_refuses() -> None:
    target = FakeTarget(mode="replay")
    before = (bytes(target.memory), target.values | {"rip": END})  # gdb's leave lets it run on
    output = session(target, "set var $rax = 1", f"set var *(char*){VARIABLE:#x} = 1")
    assert "a write would alter the replay" in output
    assert f"Cannot access memory at address {VARIABLE:#x}" in output
    assert (bytes(target.memory), target.values) == before


def test_a_triple_fault() -> None:
    target = FakeTarget(stops_at={CODE + 4: Stop(StopReason.HALTED, text="triple fault")})
    output = session(target, "continue", "info registers rip", "continue", f"x/x {CODE:#x}")
    assert output.count("halted: triple fault") == 2
    assert output.count("Program received signal SIGABRT") == 2
    assert f"rip            {CODE + 5:#x}" in output


def test_the_end_of_a_recording() -> None:
    target = FakeTarget(stops_at={CODE + 4: Stop(StopReason.END_OF_LOG, text="the log ends here")})
    output = session(target, "continue", "stepi", "p $pc")
    assert output.count("end of the recording: the log ends here") == 2
    assert f"{CODE + 5:#x}" in output


def test_detach_and_attach_again() -> None:
    target = FakeTarget()
    with serving(target) as (server, _):
        for rip in (CODE, END, END):
            output = gdb(server.port, f"break *{CODE + 1:#x}", "p $pc", "detach")
            assert f"{rip:#x}" in output and "detached" in output
            eventually(lambda: target.values["rip"] == END)


def test_kill_does_not_kill_the_guest() -> None:
    target = FakeTarget()
    assert "killed" in session(target, f"break *{CODE + 1:#x}", "kill")
    assert not target.breakpoints and target.stop is None


def test_gdb_dies_and_another_attaches() -> None:
    target = FakeTarget()
    with serving(target) as (server, said):
        with running(server.port, f"hbreak *{END + 9:#x}", "continue"):
            eventually(lambda: target.values["rip"] == END and target.stop is None)
        eventually(lambda: said[-1].startswith("gdb is gone"))
        assert not target.breakpoints
        assert f"{END:#x}" in gdb(server.port, "p $pc")


def test_a_second_gdb_is_told() -> None:
    target = FakeTarget()
    with serving(target) as (server, _), running(server.port, "continue"):
        eventually(lambda: target.values["rip"] == END and target.stop is None)
        assert "another debugger is attached" in gdb(server.port)
        assert target.stop is None


@pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
def test_a_32_bit_guest_with_its_elf_file(tmp_path: Path) -> None:
    source = "_start: inc %eax\ninc %ecx\nnop\nnop\nhere: jmp here\n.globl _start\n"
    file = assembled(tmp_path, source, "--32", "elf_i386")
    target = FakeTarget()
    target.values |= {"efer": 0, "cs_access": CODE_32}
    target.memory[CODE - RAM : CODE - RAM + 2] = b"\x40\x41"
    with serving(target, early=I386) as (server, _):
        output = gdb(
            server.port,
            *("x/2i $pc", "break 4", "continue", "p $esp", "info registers cr0"),
            file=file,
        )
    assert "not compatible" not in output
    assert re.search(r"inc +%eax\n.*inc +%ecx", output)
    assert "Breakpoint 1, _start () at guest.s:4" in output
    assert f"{STACK:#x}" in output
    assert re.search(r"^cr0 +0x11 ", output, re.M)
