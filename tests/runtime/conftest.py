"""The small institution of the tests of its room."""

from tests.institution.conftest import home

__all__ = ["home"]
