"""Where it runs: devices, and processes that share a batch."""
