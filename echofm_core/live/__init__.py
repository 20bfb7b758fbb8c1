"""A run as it goes on: what it says of itself, and who watches it, in a terminal or a browser."""
