"""Runs on a board: build the image, run the machine, keep what it leaves.

lvmm.replaying replays what was recorded.
"""

from lvmm.session.leftovers import GUEST_STOP
from lvmm.session.outcome import raise_run_error
from lvmm.session.preparation import check_space, monitor_image, run_mib
from lvmm.session.recorded import BOOT_MARK, default_directory, record
from lvmm.session.settings import (
    LOG_MIN_KIB,
    RING_MIN_KIB,
    RingSettings,
    RunSettings,
    Sink,
    new_seed,
    run_options,
    with_log,
    with_network,
)
from lvmm.session.unlogged import live, run_native

__all__ = [
    "BOOT_MARK",
    "GUEST_STOP",
    "LOG_MIN_KIB",
    "RING_MIN_KIB",
    "RingSettings",
    "RunSettings",
    "Sink",
    "check_space",
    "default_directory",
    "live",
    "monitor_image",
    "new_seed",
    "raise_run_error",
    "record",
    "run_mib",
    "run_native",
    "run_options",
    "with_log",
    "with_network",
]
