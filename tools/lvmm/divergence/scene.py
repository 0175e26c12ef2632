"""What is known of a divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lvmm.divergence.message import Divergence
from lvmm.guest_names import GuestNames
from lvmm.logs import Event
from lvmm.recorded_context import Context
from lvmm.report_facts import event_facts, place_facts


@dataclass(frozen=True)
class Scene:
    """The monitor's message, what the recording has there, names; `bits` of the code at RIP."""

    divergence: Divergence
    context: Context
    names: GuestNames
    bits: int

    @property
    def last(self) -> Event | None:
        """The last event that matched."""
        return self.context.last[-1] if self.context.last else None

    @property
    def event(self) -> Event | None:
        """The event at which the replay has left the recording."""
        return self.context.expected

    def place(self, rip: int) -> dict[str, Any]:
        """An address of the guest's code, as JSON values."""
        return place_facts(rip, self.names)

    def event_facts(self, event: Event) -> dict[str, Any]:
        """An event, as JSON values."""
        return event_facts(event, self.names)

    def name(self, address: int) -> str:
        """An address of the guest's code, for people."""
        symbol = self.names.describe(address)
        return f"{address:#x} {symbol}" if symbol else f"{address:#x}"
