"""One contestant a file: run as ``python -m benchmarks.peers.NAME small|wire``."""
