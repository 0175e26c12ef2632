"""lvmm: record and replay of whole machines. The tools around the monitor."""

__version__ = "0.3.0"
