"""`lvmm bench`: a module a benchmark; suite.py runs them all."""
