"""This server beside those that people would pick instead, in one run: `make bench-peers`."""
