"""The cells of an Excel file, by openpyxl."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt1.errors import DataError, first_line

_MAX_SIZE = 1 << 30  # bytes, unpacked


def read_cells(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """Yield (row number, values) of the first sheet that holds anything; [] is a blank row.

    Raises DataError.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise DataError(
            f'{path} is an Excel file; reading it needs openpyxl. Run pip install "gpt1[data]"'
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MAX_SIZE:
                raise DataError(
                    f"{path} holds more than {_MAX_SIZE >> 30} GiB unpacked. Save it as .csv."
                )
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            for sheet in book.worksheets:
                width = 0
                for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
                    row = list(values)
                    while row and row[-1] is None and len(row) > width:
                        row.pop()
                    width = width or len(row)
                    row += [None] * (width - len(row))
                    if width:
                        yield number, row if any(v is not None for v in row) else []
                if width:
                    return
        finally:
            book.close()
    except DataError:
        raise
    except Exception as error:  # openpyxl lets through those of zip, XML and its own parsers
        raise DataError(f"{path}: no Excel file, or a damaged one ({first_line(error)}).") from None
