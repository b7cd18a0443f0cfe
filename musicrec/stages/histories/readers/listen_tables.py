"""Listens in CSV and Parquet files: a row for each listen, or for all listens of a user to a song."""

import csv
import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from musicrec.errors import SchemaError
from musicrec.files.parquet import open_parquet
from musicrec.files.paths import AnyPath
from musicrec.schemas import ListenReason
from musicrec.stages.histories.listens import (
    BLOCK_ROWS,
    LEAST_TIME,
    LISTENS,
    MOST_PLAYS,
    MOST_TIME,
    UNITS,
    blocks,
    without_song,
)

SONG = ("track_id", "recording_mbid", "isrc", "uri", "artist", "title")
COLUMNS = ("user_id", *SONG, "timestamp", "plays", "seconds", "skipped")
YES, NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")

Bools = NDArray[np.bool_]


def read_csv(file: AnyPath, user: str = "") -> Iterator[pa.Table]:
    """Read a CSV block by block; commas, semicolons or tabs stand between its columns.

    Parameters
    ----------
    file : pathlib.Path or upath.UPath
        Its first row holds the names of the columns. A row with more or fewer cells is left out.
    user : str
        The listener; if empty, the column ``user_id`` names the one of each row.

    Raises
    ------
    SchemaError
        A column is missing, or there are two of one name.
    """
    damaged: list[int] = []

    def leave_out(row: Any) -> str:  # noqa: ANN401 - pyarrow's
        damaged.append(1)
        return "skip"

    headers, delimiter = _first_row(file)
    chosen = known_columns(file, headers, user)
    if not headers:
        return
    with file.open("rb") as content:
        reader = pacsv.open_csv(
            content,
            pacsv.ReadOptions(use_threads=False),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=leave_out),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(headers, pa.string()),
                include_columns=list(chosen.values()),
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield to_listens(pa.Table.from_batches([batch]), chosen, user)
    yield from blocks(without_song(ListenReason.DAMAGED, user) for _ in damaged)


def _first_row(file: AnyPath) -> tuple[list[str], str]:
    """Return the headers of a CSV, and what stands between them."""
    with file.open("rb") as content:
        line = TextIOWrapper(content, "utf-8-sig", newline="").readline()
    delimiter = max(",;\t", key=line.count)
    return next(csv.reader([line], delimiter=delimiter), []), delimiter


def read_parquet_listens(file: AnyPath, user: str = "") -> Iterator[pa.Table]:
    """Read a Parquet file block by block; see :func:`read_csv`."""
    with open_parquet(file) as content:
        chosen = known_columns(file, content.schema_arrow.names, user)
        for batch in content.iter_batches(BLOCK_ROWS, columns=list(chosen.values())):
            yield to_listens(pa.Table.from_batches([batch]), chosen, user)


def known_columns(file: AnyPath, headers: list[str], user: str) -> dict[str, str]:
    """Return the header of each known column; case, spaces and hyphens of headers do not count.

    Raises
    ------
    SchemaError
        A column is missing, or there are two of one name.
    """
    forms = [re.sub(r"[\s_-]+", "_", header.strip("\ufeff \t\r\n").casefold()) for header in headers]
    twice = next((name for name in COLUMNS if forms.count(name) > 1), None)
    if twice:
        raise SchemaError(f"{file} has {forms.count(twice)} columns {twice!r}; keep one of them")
    found = {name: headers[forms.index(name)] for name in COLUMNS if name in forms}
    names_song = found.keys() & set(SONG[:4]) or {"artist", "title"} <= found.keys()
    if not headers:
        raise SchemaError(f"{file} is empty; expected a row for each listen below the names of the columns")
    if "user_id" not in found and not user:
        raise SchemaError(
            f"{file} has no column user_id; its columns are {', '.join(headers)}; name one so, or say --user NAME"
        )
    if not names_song:
        raise SchemaError(
            f"{file} has no column that names songs; its columns are {', '.join(headers)}; "
            f"expected track_id, recording_mbid, isrc or uri, or both artist and title"
        )
    return found


# --- cells --------------------------------------------------------------------------------------------------------


def to_listens(table: pa.Table, chosen: dict[str, str], user: str) -> pa.Table:
    """Return rows of a file as :data:`LISTENS`; one with a cell that cannot be read gets a reason.

    Parameters
    ----------
    table : pyarrow.Table
        The rows.
    chosen : dict of str to str
        The header of each known column.
    user : str
        The listener; if empty, the column ``user_id`` names the one of each row.
    """
    n = len(table)
    column = {name: table[header].combine_chunks() for name, header in chosen.items()}
    made: dict[str, Any] = {name: _texts(column[name]) for name in ("user_id", *SONG) if name in column}
    if user:
        made["user_id"] = pa.array([user]).take(pa.array(np.zeros(n, np.int64)))
    made["at_s"], bad_times = _times(column.get("timestamp"), n)
    made["skipped"], bad_skips = _bools(column.get("skipped"), n)
    seconds, bad_seconds = _numbers(column.get("seconds"), n)
    plays, bad_plays = _numbers(column.get("plays"), n)
    plays = np.where(np.isnan(plays), 1, plays)
    is_bad = bad_times | bad_skips | bad_seconds | bad_plays | (seconds < 0) | np.isinf(seconds)
    is_bad |= (plays < 1) | (plays >= MOST_PLAYS) | (plays != np.floor(plays))
    made["seconds"] = pa.array(seconds, mask=np.isnan(seconds))
    made["plays"] = pa.array(np.where(is_bad, 1, plays).astype(np.int64))
    made["reason"] = pc.if_else(pa.array(is_bad), str(ListenReason.BAD_VALUE), None)
    return pa.table([made.get(field.name, pa.nulls(n, field.type)) for field in LISTENS], schema=LISTENS)


def _texts(column: pa.Array) -> pa.Array:
    """Return cells as texts without spaces around them; null for an empty one. Ids may be whole numbers."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column).cast(pa.int64(), safe=False)
    if pa.types.is_binary(column.type) or pa.types.is_nested(column.type):
        return pa.nulls(len(column), pa.string())
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _numbers(column: pa.Array | None, n: int) -> tuple[NDArray[np.float64], Bools]:
    """Return cells as numbers, NaN where there is none, and which of them cannot be read."""
    if column is None:
        return np.full(n, np.nan), np.zeros(n, bool)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.array(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)), np.zeros(n, bool)
    texts = _texts(column)
    numbers = pd.to_numeric(pd.Series(texts.to_pylist(), dtype=object), errors="coerce").to_numpy(np.float64, copy=True)
    return numbers, np.isnan(numbers) & texts.is_valid().to_numpy(zero_copy_only=False)


def _times(column: pa.Array | None, n: int) -> tuple[pa.Array, Bools]:
    """Return cells as seconds since 1970, null where they are unknown, and which of them cannot be read."""
    if column is not None and (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        seconds = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
        return pc.if_else(pc.greater_equal(seconds, int(LEAST_TIME)), seconds, None), np.zeros(n, bool)
    numbers, is_bad = _numbers(column, n)
    is_bad |= np.abs(numbers) >= MOST_TIME
    numbers[is_bad] = np.nan
    for least, per_second in UNITS:
        numbers = np.where(numbers >= least, numbers // per_second, numbers)
    if column is not None and is_bad.any():
        texts = pd.Series(_texts(column).filter(pa.array(is_bad)).to_pylist())
        times = pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601")
        unread = times.isna().to_numpy()
        numbers[is_bad] = np.where(unread, np.nan, times.to_numpy("datetime64[s]").astype(np.int64))
        is_bad[is_bad] = unread
    is_known = numbers >= LEAST_TIME
    return pa.array(np.where(is_known, numbers, 0).astype(np.int64), mask=~is_known), is_bad


def _bools(column: pa.Array | None, n: int) -> tuple[pa.Array, Bools]:
    """Return cells as yes or no, null where they are unknown, and which of them cannot be read."""
    if column is None:
        return pa.nulls(n, pa.bool_()), np.zeros(n, bool)
    texts = pc.utf8_lower(_texts(column))
    is_yes, is_no = (pc.is_in(texts, value_set=pa.array(words)) for words in (YES, NO))
    is_known = pc.or_(is_yes, is_no)
    is_bad = pc.and_(texts.is_valid(), pc.invert(is_known)).to_numpy(zero_copy_only=False)
    return pc.if_else(is_known, is_yes, None), is_bad
