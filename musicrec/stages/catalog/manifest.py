"""Read a manifest: a CSV or Parquet file with a song in each row, as the texts of its columns."""

import re
import string
import unicodedata
from collections import defaultdict

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import CatalogError
from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath
from musicrec.monitor import log

PLACES = ("uri", "path")  # columns that say where a song is; the first that a row fills in counts
FACTS = ("title", "artist", "artist_id", "album", "genre", "split", "recording")  # columns of ``tracks``
INDEX = re.compile(r"__index_level_\d+__")  # pandas keeps the numbers of rows under this name
EXACT = {16: 11, 32: 24, 64: 53}  # bits of a float: from this power of 2 on, it stands for several integers
INVISIBLE = "\ufeff\u200b\u2060"  # a byte order mark, and spaces without width

Rows = list[dict[str, str | None]]


def read_manifest(file: AnyPath) -> tuple[Rows, list[str]]:
    """Read a manifest.

    A column is known by its header: case, width, spaces around it, and spaces or hyphens instead of underscores do not
    count.
    The user is told of the columns that are not known.

    Parameters
    ----------
    file : pathlib.Path or upath.UPath
        A CSV or ``.parquet`` file.

    Returns
    -------
    rows : list of dict
        The texts of each row by name of the column; None where a cell is empty.
    columns : list of str
        The known columns that the file has.

    Raises
    ------
    CatalogError
        The file cannot be read, says no place of its songs, has two columns of one name, or one whose cells are no
        texts.
    """
    try:
        table = read_parquet(file) if file.suffix == ".parquet" else _read_csv(file)
    except UnicodeDecodeError as e:
        raise CatalogError(f"manifest {file} is not text in UTF-8; save it as CSV in UTF-8") from e
    except (ValueError, OSError) as e:
        raise CatalogError(f"manifest {file} cannot be read: {e}".splitlines()[0]) from e
    headers = _known_headers(file, table.schema.names)
    texts = {name: _texts(file, table[header], header) for name, header in headers.items()}
    return [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)], list(texts)


def _known_headers(file: AnyPath, headers: list[str]) -> dict[str, str]:
    """Return the header of each known column."""
    found: dict[str, list[str]] = defaultdict(list)
    for header in headers:
        found[_name_of(header)].append(header)
    known = {name: found.pop(name) for name in (*PLACES, "track_id", *FACTS) if name in found}
    for name, same in known.items():
        if len(same) > 1:
            raise CatalogError(f"manifest {file} has {len(same)} columns {name!r} ({same}); keep one of them")
    if not known.keys() & set(PLACES):
        raise CatalogError(
            f"manifest {file} has no column 'path' or 'uri'; its columns are {', '.join(map(repr, headers))}; "
            f"expected one audio file per row, and commas between the cells of a CSV"
        )
    ignored = [header for same in found.values() for header in same if not INDEX.fullmatch(header)]
    if ignored:
        line = f"manifest {file}: columns that are not used: {', '.join(map(repr, ignored))}"
        log.log_event("manifest", f"musicrec: {line}", ignored=ignored)
    return {name: header for name, (header,) in known.items()}


def _name_of(header: str) -> str:
    """Return the name of the column that a header means.

    Examples
    --------
    >>> _name_of("\ufeff Track-ID\u00a0")
    'track_id'
    """
    text = unicodedata.normalize("NFKC", header).strip(INVISIBLE + string.whitespace)
    return re.sub(r"[\s_-]+", "_", text.casefold())


def _read_csv(file: AnyPath) -> pa.Table:
    """Read a CSV as texts; its first row holds the headers, two of which may be equal."""
    with file.open("rb") as content:
        rows = pd.read_csv(content, dtype=str, keep_default_na=False, header=None)  # a song's title may be "None"
    columns = [pa.array(rows[i].iloc[1:].tolist(), pa.string()) for i in rows]
    return pa.Table.from_arrays(columns, [str(header) for header in rows.iloc[0]])


def _texts(file: AnyPath, column: pa.ChunkedArray, header: str) -> list[str | None]:
    """Return the cells of a column as texts without spaces around them; None for an empty one."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return [None if cell is None else str(cell) for cell in column.to_pylist()]
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = _whole_numbers(file, column, header)
    elif pa.types.is_nested(kind) or "binary" in str(kind) or isinstance(kind, pa.BaseExtensionType):
        raise CatalogError(f"manifest {file}: column {header!r} holds {kind}; expected text or numbers")
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return [text or None for text in texts.to_pylist()]


def _whole_numbers(file: AnyPath, column: pa.ChunkedArray, header: str) -> pa.ChunkedArray:
    """Return a column of floats or decimals as integers, if all are whole.

    pandas makes floats of integers of which one is missing; databases make decimals of them. Raises CatalogError where
    a float may be another integer than the one it was made of.
    """
    if pa.types.is_floating(column.type):
        exact, bits = EXACT[column.type.bit_width], column.type.bit_width
        column = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(column), None, column)
        if pc.any(pc.greater_equal(pc.abs(column), 2.0**exact)).as_py():
            raise CatalogError(
                f"manifest {file}: column {header!r} holds floats of {bits} bits beyond 2^{exact}, which stand for "
                f"several integers; write it as text or as int64"
            )
    whole = pa.int64() if pa.types.is_floating(column.type) else pa.decimal256(76, 0)
    try:
        return column.cast(whole)  # refuses to cut anything off
    except pa.ArrowInvalid:
        return column
