"""A trained model on files: what it reads, how sure over windows, and where it looked."""
