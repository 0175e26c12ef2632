"""Debugging a machine over its monitor's line: gdb, the guest's console, the state."""
