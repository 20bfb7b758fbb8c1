"""How the program runs on a machine: processes, signals, locks."""
