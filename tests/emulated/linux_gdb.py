"""A session of gdb with Debian's kernel and its e1000 driver, which waits for it (lvmm.ask)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from tests.emulated.gdb_run import DebuggedRun, debugged, free_tcp_port
from tests.emulated.gdb_session import GdbSession, gdb_at
from tests.emulated.machine import BOARD, wait_for

from lvmm import guest_build
from lvmm.link import LinkClient, open_stream
from lvmm.netpeer import NetPeer, PeerResult, Traffic, free_port

BOOT_S = 600.0


def load_symbols(gdb: GdbSession) -> None:
    """The kernel's and the modules', as they are in the guest's memory."""
    said = gdb.do("monitor symbols")
    found = re.search(r"symbol-file (\S+)", said)
    assert found, said
    assert "modules: e1000" in said
    gdb.do(f"symbol-file {found[1]}")


def look_at_the_driver(gdb: GdbSession) -> None:
    """Breaks in it, steps, and watches a variable of the kernel's."""
    said = gdb.do("break e1000_clean", "continue", "info symbol $pc", "backtrace 3")
    assert re.search(r"Breakpoint \d+, 0x[0-9a-f]+ in e1000_clean", said), said
    assert "e1000_clean in section e1000" in said
    assert re.search(r"^#1 +0x[0-9a-f]+ in \w+", said, re.M), said
    said = gdb.do("p/x $pc", "stepi", "stepi", "p/x $pc", "info symbol $pc")
    before, after = re.findall(r"\$\d+ = (0x[0-9a-f]+)", said)
    assert int(before, 16) < int(after, 16) < int(before, 16) + 40
    assert "in section e1000" in said
    said = gdb.do("delete", "watch *(long *) &jiffies_64", "continue", "info symbol $pc")
    old, new = re.findall(r"(?:Old|New) value = (\d+)", said)
    assert int(new) > int(old), said
    gdb.do("delete")


@contextlib.contextmanager
def receiving(
    output: Path, command: list[object], settings: str, packets: int, traffic: Traffic
) -> Iterator[tuple[DebuggedRun, NetPeer, LinkClient]]:
    """`command` with the stock kernel, gdb's port, a peer that sends datagrams, and a keyboard."""
    port, keyboard_port = free_port(), free_tcp_port()
    guest = guest_build.linux_guest(BOARD, f"lvmm.packets={packets} lvmm.ask=yes {settings}")
    arguments = [*command, "--linux", guest.kernel, "--initrd", guest.extra[0]]
    arguments += ["--append", guest.cmdline, "--net-port", port, "--attach", keyboard_port]
    peer = NetPeer(port, traffic)
    peer.start()
    try:
        with (
            debugged(output, *arguments) as run,
            LinkClient(lambda: open_stream(f":{keyboard_port}")) as keyboard,
        ):
            yield run, peer, keyboard
    finally:
        peer.stop()


def debug_while_it_receives(
    output: Path, command: list[object], settings: str, packets: int, traffic: Traffic
) -> PeerResult:
    """gdb comes, looks, leaves and comes again; then the guest goes on to its end. What the peer
    saw.
    """
    with receiving(output, command, settings, packets, traffic) as (run, peer, keyboard):
        console = output.with_suffix(".out")

        def shows(text: bytes) -> None:
            wait_for(
                lambda: text in console.read_bytes() or run.process.poll() is not None,
                BOOT_S,
                f"{text!r} on the console",
            )
            assert text in console.read_bytes(), run.said

        def type_line(text: bytes) -> None:
            assert keyboard.write_console(text + b"\n") == len(text) + 1

        shows(b"lvmm: type to start")
        with gdb_at(run.port, output.with_suffix(".gdb.log")) as gdb:
            load_symbols(gdb)
            type_line(b"some words")
            look_at_the_driver(gdb)
            gdb.begin("continue")
            shows(b"lvmm: type to end")
            assert "Program received signal SIGINT" in gdb.interrupt()
            said = gdb.do("detach", f"target remote :{run.port}", "p/x $cs", "p jiffies_64")
            assert "detached" in said
            assert re.search(r"^\$\d+ = 0x(10|33)$", said, re.M), "it runs again, and is stopped"
            gdb.do("disconnect", f"target remote :{run.port}", "detach")
        shows(b"lvmm: typed <some words>")
        type_line(b"and some more")
        keyboard.close()
        assert run.ended() == 0, run.said
        shows(b"lvmm: typed <and some more>")
        assert "the run is over" not in run.said, "nobody waits for a debugger that has left"
        return peer.stop()
