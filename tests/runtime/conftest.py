"""The small institution of the tests of its room."""

from tests.simulations.alone.conftest import home

__all__ = ["home"]
