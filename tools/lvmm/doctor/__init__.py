"""`./lvmm doctor`: what this machine and a board can do, and what to fix."""
