"""A plugin for drgn: types and symbols of a Linux kernel without its debug information.

    DRGN_PLUGINS=lvmm=tools/drgn_lvmm.py drgn -c vmcore

Symbols come from the kernel's kallsyms, types from its BTF; both are in the core. Where there is
DWARF, it goes first.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drgn import FaultError, Program, ProgramFlags
from drgn.helpers.linux.kallsyms import load_module_kallsyms, load_vmlinux_kallsyms

from lvmm.vmcore.btf import Btf, BtfError
from lvmm.vmcore.drgn_types import BtfTypes

_LOG = logging.getLogger("drgn.lvmm")


def drgn_prog_set(prog: Program) -> None:
    """Called by drgn when it has opened what it is to debug."""
    if not prog.flags & ProgramFlags.IS_LINUX_KERNEL:
        return
    try:
        prog.register_symbol_finder("lvmm-kallsyms", load_vmlinux_kallsyms(prog), enable_index=-1)
        start, end = (prog.symbol(name).address for name in ("__start_BTF", "__stop_BTF"))
        btf = Btf(prog.read(start, end - start))
    except (LookupError, ValueError, FaultError, BtfError) as error:
        _LOG.warning("no types without debug information: %s", error)
        return
    BtfTypes(prog, btf, lambda name: _address(prog, name)).register()
    try:
        prog.register_symbol_finder(
            "lvmm-module-kallsyms", load_module_kallsyms(prog), enable_index=-1
        )
    except (LookupError, ValueError, FaultError) as error:
        _LOG.warning("no symbols of modules: %s", error)


def _address(prog: Program, name: str) -> int | None:
    try:
        address: int = prog.symbol(name).address
    except LookupError:
        return None
    return address
