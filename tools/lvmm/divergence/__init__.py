"""Explains a divergence: where a replay left its recording, in what it differs, what led there.

The monitor stops at the first mismatch and prints one message (hypervisor/replay/divergence.c).
explain_divergence() puts it beside the recording, the replay's memory and the guest's symbols; the
result is JSON values. render_divergence() shows it to people. What cannot be had (symbols, memory,
the recording itself) shortens the report and is said in its notes; nothing makes it fail.
"""

from lvmm.divergence.explain import explain_divergence
from lvmm.divergence.text import render_divergence

__all__ = ["explain_divergence", "render_divergence"]
