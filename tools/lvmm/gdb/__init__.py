"""A server for gdb's remote serial protocol over an abstract target."""
