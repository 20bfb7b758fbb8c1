"""Formats of tables as files."""

from enum import StrEnum


class TableFormat(StrEnum):
    """How tables are written."""

    CSV = "csv"
    LATEX = "latex"
    MARKDOWN = "markdown"

    @property
    def ending(self) -> str:
        """Of the files."""
        return {TableFormat.CSV: "csv", TableFormat.LATEX: "tex", TableFormat.MARKDOWN: "md"}[self]
