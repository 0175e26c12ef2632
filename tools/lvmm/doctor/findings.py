"""What was found, for people and as JSON."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Sequence


class State(enum.Enum):
    """OK; something works not as well as it could; something that is needed is not there."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line: what it is about, what there is, and what to do about it."""

    subject: str
    state: State
    text: str
    advice: str = ""

    def facts(self) -> dict[str, str]:
        """For JSON."""
        return {**dataclasses.asdict(self), "state": self.state.value}


def is_fine(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing."""
    return all(finding.state is not State.MISSING for finding in findings)


def render(title: str, findings: Sequence[Finding]) -> str:
    """A table under its title."""
    width = max((len(finding.subject) for finding in findings), default=0)
    lines = [title]
    for finding in findings:
        lines.append(f"  {finding.state.value:<8} {finding.subject:<{width}}  {finding.text}")
        if finding.advice:
            lines.append(f"  {'':<8} {'':<{width}}  -> {finding.advice}")
    return "\n".join(lines)
