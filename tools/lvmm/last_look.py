"""The guest of a live run as it has ended: there is no log that tells."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lvmm.crash import CrashedGuest, explain_state
from lvmm.errors import LvmmError
from lvmm.link import LinkClient, Registers, Status
from lvmm.logs.layout import EndReason, FinalState, Segment
from lvmm.monitor_line import MonitorReport, parse_line


class LastLook:
    """Asks the monitor when the guest has ended (RunOptions.at_end), and explains a crash."""

    def __init__(self) -> None:
        self._registers: Registers | None = None
        self._status: Status | None = None

    def __call__(self, link: LinkClient) -> None:
        with contextlib.suppress(LvmmError):  # the machine is gone: then there is no report
            self._registers = link.read_registers()
            self._status = link.status()

    def explain(
        self, guest: CrashedGuest, ram: Path, report: MonitorReport
    ) -> dict[str, Any] | None:
        """The report of a crash as JSON values (lvmm.crash); None where there was none."""
        if self._registers is None or self._status is None or not self._status.end_reason:
            return None
        return explain_state(
            EndReason(self._status.end_reason),
            _final_state(self._registers),
            guest,
            ram,
            panic=_panic_text(report),
        )


def _panic_text(report: MonitorReport) -> str | None:
    for line in reversed(report.lines):
        message = parse_line(line)
        if message is not None and message["lvmm"] == "guest-panic":
            return str(message.get("text", ""))
    return None


def _final_state(registers: Registers) -> FinalState:
    """As a recording would have it, but for the position, which only a recording counts."""
    return FinalState(
        gpr=registers.gpr,
        rip=registers.rip,
        rflags=registers.rflags,
        cr0=registers.cr0,
        cr2=registers.cr2,
        cr3=registers.cr3,
        cr4=registers.cr4,
        cr8=registers.cr8,
        efer=registers.efer,
        dr7=registers.dr7,
        branches=0,
        segments=tuple(
            Segment(part.base, part.limit, part.attributes, part.selector, 0)
            for part in registers.segments
        ),
        gdtr_base=registers.gdtr_base,
        idtr_base=registers.idtr_base,
        gdtr_limit=registers.gdtr_limit,
        idtr_limit=registers.idtr_limit,
    )
