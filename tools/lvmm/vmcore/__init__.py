"""ELF cores of a guest, as gdb, drgn and other tools for crashed kernels read them."""
