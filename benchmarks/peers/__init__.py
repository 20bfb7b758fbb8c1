"""One contestant a file.

Those of the simulator run as ``python -m benchmarks.peers.NAME small|wire``; those of the data path
are called.
"""
