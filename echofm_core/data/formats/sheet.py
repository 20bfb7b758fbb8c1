"""Excel sheets as rows of text."""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

from echofm_core.runtime.errors import DataRootError, refusing

#: Rows and columns beyond these are not a table of patients, but damage.
MOST_ROWS, MOST_COLUMNS = 10_000, 64
#: Bytes of a workbook unpacked; that of the longest public sheet has a hundredth of it.
MOST_BYTES = 2**22


def read_sheet(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """First sheet of a workbook, one dictionary a row, empty cells "".

    Args:
        file: An ``.xlsx`` file.
        columns: Columns that must be there.

    Raises:
        DataRootError: It cannot be read, or lacks a column.
    """
    import openpyxl  # a quarter of a second, and only one data set comes this way

    with refusing(f"sheet {file.name} cannot be read", DataRootError), file.open("rb") as stream:
        with zipfile.ZipFile(stream) as archive:  # no more than declared is unpacked
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise DataRootError(
                    f"sheet {file.name} unpacks to more than {MOST_BYTES >> 20} MiB, which no "
                    "sheet of this data set does; download it again."
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            rows = book.worksheets[0].iter_rows(
                values_only=True, max_row=MOST_ROWS, max_col=MOST_COLUMNS
            )
            lines = [["" if cell is None else str(cell).strip() for cell in row] for row in rows]
    header = lines[0] if lines else []
    if missing := [column for column in columns if column not in header]:
        raise DataRootError(f"sheet {file.name} lacks the columns {missing}.")
    return [dict(zip(header, line, strict=False)) for line in lines[1:]]
