"""Excel sheets as rows of text."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from echofm_core.errors import DataRootError

#: Rows beyond this are not a table of patients, but damage.
MOST_ROWS = 100_000


def read_sheet(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """First sheet of a workbook, one dictionary a row, empty cells "".

    Args:
        file: An ``.xlsx`` file.
        columns: Columns that must be there.

    Raises:
        DataRootError: It cannot be read, or lacks a column.
    """
    import openpyxl  # a quarter of a second, and only one data set comes this way

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            lines = [
                ["" if cell is None else str(cell).strip() for cell in line]
                for line in sheet.iter_rows(values_only=True, max_row=MOST_ROWS)
            ]
            book.close()
    except Exception as error:  # zip, XML and the workbook each have their own
        raise DataRootError(f"sheet {file.name} cannot be read ({type(error).__name__}).") from None
    header = lines[0] if lines else []
    if missing := [column for column in columns if column not in header]:
        raise DataRootError(f"sheet {file.name} lacks the columns {missing}.")
    return [dict(zip(header, line, strict=False)) for line in lines[1:]]
