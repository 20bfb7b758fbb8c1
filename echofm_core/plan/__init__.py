"""The plan: every choice that decides a run, as one validated document."""
