"""Test clips changed in one way at a time, and what that costs a finished model."""
