"""How fast the server is, and how much memory it takes: `python -m benchmarks` (or `make bench`). Never a test.

Every figure is a median over rounds in which the contestants take turns, so that a machine that is busy for a while is
busy for all of them. The yardstick is a plain TCP socket that moves the same bytes on the same machine in the same run.
"""
