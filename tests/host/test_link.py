"""The debug link's two ends against each other, over good lines and bad ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.host.link_machine import (
    BREAKPOINTS,
    CONSOLE_END,
    CONSOLE_OLDEST,
    LOG_SIZE,
    MEMORY_BASE,
    MEMORY_SIZE,
    QUERY_SIZE,
    TIMING,
    Fault,
    Lines,
    LinkMachine,
    content,
)

from lvmm.link import (
    BadRequest,
    BreakpointKind,
    GuestRunning,
    LinkClient,
    LinkClosed,
    LinkError,
    LinkMismatch,
    LinkTimeout,
    MemoryFault,
    MemoryKind,
    MemoryRange,
    MemorySpace,
    Mode,
    NoSpace,
    QueryKind,
    Register,
    RequestRefused,
    RunState,
    SessionLost,
    Status,
    StopReason,
    Timing,
    Unsupported,
    session,
)

pytestmark = pytest.mark.host

# Where a request that is sent again would be counted: a busy machine must not look like silence.
PATIENT = Timing(retry=120, give_up=240)


def eventually(condition: Callable[[], bool]) -> None:
    """The test's deadline ends it otherwise."""
    while not condition():
        time.sleep(0.005)


@pytest.fixture(scope="module")
def running() -> Iterator[LinkMachine]:
    with LinkMachine() as machine:
        yield machine


@pytest.fixture
def machine(running: LinkMachine) -> LinkMachine:
    running.reset()
    return running


@pytest.fixture
def link(machine: LinkMachine) -> Iterator[LinkClient]:
    with LinkClient(Lines(machine), timing=TIMING) as client:
        yield client


def test_hello_names_the_monitor(link: LinkClient) -> None:
    hello = link.connect()
    assert (hello.board, hello.monitor, hello.mode) == ("host", "driver", Mode.REPLAY)


def test_registers(link: LinkClient) -> None:
    for register in (Register.R15, Register.RIP, Register.DR7):
        link.write_register(register, 0x1234567890ABCDEF + register, force=True)
    registers = link.read_registers()
    assert registers.gpr[15] == 0x1234567890ABCDEF + Register.R15
    assert registers.rip == 0x1234567890ABCDEF + Register.RIP
    assert registers.dr7 == 0x1234567890ABCDEF + Register.DR7
    image = bytes(range(256)) * 10
    link.write_fpu(image)
    assert link.read_fpu() == (7, image)


def test_memory(link: LinkClient) -> None:
    data = bytes(range(256)) * 40
    link.write_memory(MEMORY_BASE + 100, data, MemorySpace.PHYSICAL)
    assert link.read_memory(MEMORY_BASE + 100, len(data)) == data
    with pytest.raises(MemoryFault, match="no memory at 0x14000") as caught:
        link.read_memory(MEMORY_BASE + MEMORY_SIZE - 5000, 6000)
    assert len(caught.value.data) == caught.value.done == 5000
    with pytest.raises(MemoryFault) as caught:
        link.write_memory(MEMORY_BASE + MEMORY_SIZE - 3, b"abcdef")
    assert caught.value.done == 3
    assert link.read_memory(MEMORY_BASE + MEMORY_SIZE - 3, 3) == b"abc"
    assert link.read_memory(0, 0) == b""
    assert link.memory_map() == [
        MemoryRange(MEMORY_BASE, MEMORY_BASE + MEMORY_SIZE, MemoryKind.RAM),
        MemoryRange(0xFEE00000, 0xFEE01000, MemoryKind.MMIO),
    ]


def test_console_log_and_queries(link: LinkClient) -> None:
    end = CONSOLE_END - CONSOLE_OLDEST
    expected = content(CONSOLE_OLDEST, end, 1)
    assert link.read_console(3) == (CONSOLE_OLDEST, expected, CONSOLE_END)
    assert link.read_console(2499, 10) == (2499, expected[-1:], CONSOLE_END)
    assert link.log_info().region_size == LOG_SIZE
    assert link.read_log(7, 1 << 20) == content(7, LOG_SIZE - 7, 2)
    assert link.query(QueryKind.EPT, 9).encode() == content(0, QUERY_SIZE, QueryKind.EPT + 9)


def test_breakpoints(link: LinkClient) -> None:
    ids = [link.set_breakpoint(BreakpointKind.HARDWARE, 0x1000 + i) for i in range(BREAKPOINTS)]
    assert sorted(ids) == [1, 2, 3, 4]
    with pytest.raises(NoSpace, match="no room"):
        link.set_breakpoint(BreakpointKind.WATCH_ACCESS, 0x2000, 8)
    link.clear_breakpoint(2)
    assert link.set_breakpoint(BreakpointKind.SOFTWARE, 1) == 2
    link.clear_all_breakpoints()
    with pytest.raises(BadRequest):
        link.clear_breakpoint(1)


def test_what_the_monitor_will_not_do(machine: LinkMachine) -> None:
    with LinkClient(Lines(machine), timing=PATIENT) as link:
        with pytest.raises(
            RequestRefused,
            match=r"^the monitor did not write register: this would alter the replay$",
        ):
            link.write_register(Register.RAX, 1)
        with pytest.raises(Unsupported):
            link.stop_run()
        link.resume()
        with pytest.raises(GuestRunning, match="stop it first"):
            link.read_registers()
        assert link.statistics.retries == 0


def test_stops(machine: LinkMachine) -> None:
    lines = Lines(machine)
    told: list[Status] = []
    with LinkClient(lines, on_status=told.append, timing=TIMING) as link:
        stopped = link.wait_for_stop(link.step())
        assert (stopped.state, stopped.reason) == (RunState.STOPPED, StopReason.STEP)
        since = link.resume()
        assert since.state == RunState.RUNNING
        with pytest.raises(LinkTimeout, match="the guest did not stop"):
            link.wait_for_stop(since, 0.05)
        timer = threading.Timer(0.05, lines.say, [machine.stop])
        timer.start()
        stopped = link.wait_for_stop(since)
        assert stopped.reason == StopReason.SOFTWARE_BREAKPOINT
        assert stopped.stop_count == since.stop_count + 1
        timer.join()
        # Who waits may learn of it before the listener does.
        eventually(lambda: told == [stopped])
        assert link.wait_for_stop(link.interrupt()) == stopped
        link.resume()
        assert link.wait_for_stop(link.interrupt()).reason == StopReason.INTERRUPT


def test_a_lost_notification_is_made_up_for(machine: LinkMachine) -> None:
    with LinkClient(Lines(machine), timing=TIMING) as link:
        since = link.resume()
        machine.stop()
        assert link.wait_for_stop(since).stop_count == since.stop_count + 1


def test_messages_before_and_in_a_session(machine: LinkMachine) -> None:
    lines = Lines(machine)
    heard: list[str] = []
    with LinkClient(lines, on_line=heard.append, timing=TIMING) as link:
        link.status()
        lines.say(lambda: machine.message(b"in a frame\nand ano"))
        lines.say(lambda: b"plain te")
        lines.say(lambda: machine.message(b"ther\n" + b"y" * 9000 + b"\n"))
        lines.say(lambda: b"xt\r\n")
        machine.message(b"lost\nthis one is lo")
        lines.say(lambda: machine.message(b"st as well\nthis is not\n"))
        link.status()
        assert link.statistics.lost == 1
    assert heard == ["in a frame", "and another", "y" * 9000, "plain text", "this is not"]
    machine.reset()
    assert machine.message(b"early\n") == b"early\r\n"


def test_a_listener_that_fails_does_not_hang_the_client(machine: LinkMachine) -> None:
    lines = Lines(machine)

    def fail(_line: str) -> None:
        raise KeyError("oops")

    with LinkClient(lines, on_line=fail, timing=TIMING) as link:
        link.connect()
        lines.say(lambda: machine.message(b"line\n"))
        with pytest.raises(LinkError, match="oops"):
            while True:
                link.status()
        assert link.status().state == RunState.STOPPED  # on a new line


def test_a_dead_line_ends_in_one_clear_error(machine: LinkMachine) -> None:
    lines = Lines(machine, iter(lambda: Fault("truncate"), None))
    with (
        LinkClient(lines, timing=Timing(0.01, 0.1)) as link,
        pytest.raises(LinkTimeout, match=r"did not answer within 0\.1 seconds") as caught,
    ):
        link.status()
    assert caught.value.exit_code == 7


def test_a_monitor_that_seldom_looks(machine: LinkMachine) -> None:
    """Its UART keeps less than HELLO, a write of memory and most other requests have."""
    with LinkClient(Lines(machine, busy=True), timing=TIMING) as link:
        link.resume()
        for byte in b"fifth":
            link.write_memory(MEMORY_BASE, bytes((byte,)) * 3000)
        assert link.read_memory(MEMORY_BASE, 3000) == b"h" * 3000
        assert link.read_console(0)[2] == CONSOLE_END
        assert link.wait_for_stop(link.interrupt()).state == RunState.STOPPED
        assert link.step().stop_count == 2
    assert machine.counts().steps == 1


def test_a_stopped_guests_monitor_needs_no_knock(machine: LinkMachine) -> None:
    with LinkClient(Lines(machine), timing=PATIENT) as link:
        link.interrupt()
        sent = link.statistics.sent
        link.read_memory(MEMORY_BASE, 1)
        once = link.statistics.sent - sent
        link.resume()
        sent = link.statistics.sent
        link.read_memory(MEMORY_BASE, 1)
        assert link.statistics.sent - sent > once


def test_a_restarted_monitor_is_noticed(machine: LinkMachine, link: LinkClient) -> None:
    link.step()
    machine.reset()
    with pytest.raises(SessionLost, match="started again"):
        link.step()
    assert machine.counts().steps == 0
    link.step()
    assert machine.counts().steps == 1


def test_another_tool_takes_the_line_over(machine: LinkMachine, link: LinkClient) -> None:
    for _ in range(3):
        link.step()
    with LinkClient(Lines(machine), timing=TIMING) as other:
        other.step()
        with pytest.raises(SessionLost, match="another tool"):
            link.step()
        other.step()
    assert machine.counts().steps == 5


@pytest.mark.parametrize("what", ["PROTOCOL_VERSION", "LAYOUT_DIGEST"])
def test_other_versions_are_refused(
    machine: LinkMachine, link: LinkClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(session, what, 99)
    with pytest.raises(LinkMismatch, match="from the same version") as caught:
        link.step()
    assert caught.value.exit_code == 5
    assert len(str(caught.value).splitlines()) == 1
    assert machine.counts().steps == 0
    monkeypatch.undo()
    link.step()


def test_many_threads_share_a_link(machine: LinkMachine, link: LinkClient) -> None:
    errors: list[BaseException] = []

    def work(place: int) -> None:
        try:
            for i in range(20):
                data = bytes((place, i)) * 50
                link.write_memory(MEMORY_BASE + 100 * place, data)
                assert link.read_memory(MEMORY_BASE + 100 * place, 100) == data
                link.step()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert machine.counts().steps == 8 * 20


def test_closing_ends_a_request_that_waits(machine: LinkMachine) -> None:
    silent = Lines(machine, iter(lambda: Fault("truncate"), None))
    link = LinkClient(silent, timing=Timing(0.05, 200))

    def close_when_it_waits() -> None:
        eventually(lambda: link.statistics.retries > 0)
        link.close()

    thread = threading.Thread(target=close_when_it_waits, daemon=True)
    thread.start()
    with pytest.raises(LinkClosed):
        link.status()
    thread.join()


def test_a_listener_may_not_make_requests(machine: LinkMachine) -> None:
    lines = Lines(machine)
    with LinkClient(lines, on_line=lambda _line: print(link.status()), timing=TIMING) as link:
        link.connect()
        lines.say(lambda: b"some text\n")
        with pytest.raises(LinkError, match="must not make requests"):
            while True:
                link.status()
