"""Benchmarks: `make bench` fills databases of several sizes, asks a running server, and writes docs/performance.md."""
