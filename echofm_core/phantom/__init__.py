"""Synthetic hearts seen by synthetic scanners, with exact labels."""
