"""How it is stepped."""
