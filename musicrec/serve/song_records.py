"""The texts of a song in one record, and all records of one width: those of many songs are fetched at once.

A record holds a field for each of some columns. A field is the text, ``FIELD_END``, and as many ``PADDING`` as its
width needs; in the place of a missing text stands ``NO_TEXT``. A song with a text that is too long for its field, or
that has one of these characters, has ``NO_TEXT`` in all fields, and is read from the columns.
"""

import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.serve.song_texts import Names, Rows, SongTexts

WHOLE, ID = "record", "id_record"  # columns of songs.arrow: all fields, and the first, for lists of ids alone
WIDTHS = b"widths"  # in their metadata: JSON, the width of each field in bytes
FIELD_END, NO_TEXT, PADDING = "\x1f", "\x1e", b"\0"
RESERVED = r"[\x00\x1e\x1f]"
SHARE_THAT_FITS = 0.99  # of the texts of a column; the longest would make all records long
MOST_BYTES = 256  # of a field: a catalog of very long titles or paths must not have a sidecar of many times their size

# --- writing ------------------------------------------------------------------------------------------------------


def with_records(songs: pa.Table) -> pa.Table:
    """Append the columns of records to the columns of a sidecar.

    Parameters
    ----------
    songs : pyarrow.Table
        Large strings in one chunk each, the id first; an id is never null.
    """
    whole, ids = _records(WHOLE, songs), _records(ID, songs.select([0]))
    return songs.append_column(*whole).append_column(*ids)


def without_records(songs: pa.Table) -> pa.Table:
    """Return the columns of a sidecar alone."""
    return songs.drop_columns([name for name in (WHOLE, ID) if name in songs.column_names])


def _records(name: str, songs: pa.Table) -> tuple[pa.Field, pa.FixedSizeBinaryArray]:
    """Return a column of records, and its field."""
    columns = [column.combine_chunks() for column in songs.columns]
    widths = [_width(texts) for texts in columns]
    in_record = np.logical_and.reduce([_fits(*column) for column in zip(columns, widths, strict=True)])
    fields = [_field(*column, in_record) for column in zip(columns, widths, strict=True)]
    content = pa.py_buffer(np.concatenate(fields, axis=1))
    records = pa.FixedSizeBinaryArray.from_buffers(pa.binary(sum(widths)), len(songs), [None, content])
    return pa.field(name, records.type, metadata={WIDTHS: json.dumps(widths)}), records


def _width(texts: pa.LargeStringArray) -> int:
    """Return how many bytes a field needs for most texts and its end."""
    longest = pc.quantile(pc.binary_length(texts), SHARE_THAT_FITS, interpolation="higher")[0].as_py()
    return min(max(longest or 0, len(NO_TEXT)) + len(FIELD_END), MOST_BYTES)


def _fits(texts: pa.LargeStringArray, width: int) -> NDArray[np.bool_]:
    short = pc.less(pc.binary_length(texts), width)
    fits = pc.and_not(short, pc.match_substring_regex(texts, RESERVED))
    found: NDArray[np.bool_] = fits.fill_null(True).to_numpy(zero_copy_only=False)
    return found


def _field(texts: pa.LargeStringArray, width: int, in_record: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return one field of all records, uint8 [N, width]."""
    no_text, nothing, end = (pa.scalar(text, pa.large_string()) for text in (NO_TEXT, "", FIELD_END))
    shown = pc.if_else(pa.array(in_record), texts.fill_null(NO_TEXT), no_text)
    padded = pc.ascii_rpad(pc.binary_join_element_wise(shown, nothing, end), width, PADDING.decode())
    return np.frombuffer(padded.buffers()[2] or b"", np.uint8)[: len(texts) * width].reshape(-1, width)


# --- reading ------------------------------------------------------------------------------------------------------


class Records:
    """A column of records, mapped.

    Parameters
    ----------
    songs : pyarrow.Table
        As :func:`with_records` returns it.
    name : str
        The column of records.
    """

    def __init__(self, songs: pa.Table, name: str) -> None:
        widths = json.loads(songs.schema.field(name).metadata[WIDTHS])
        self._fields = np.dtype([(str(i), f"V{width}") for i, width in enumerate(widths)])
        records = songs[name].chunk(0).buffers()[1]
        self._take = np.frombuffer(records, f"V{sum(widths)}", len(songs)).take

    def texts(self, rows: Rows) -> tuple[list[str], bool]:
        """Return the fields of some songs one after the other, and whether each field is the text itself."""
        text = self._take(rows).tobytes().translate(None, PADDING).decode()
        texts = text.split(FIELD_END)
        texts.pop()
        return texts, NO_TEXT not in text

    def arrays(self, rows: Rows) -> list[pa.LargeStringArray]:
        """Return each field of some songs."""
        found = self._take(rows).view(self._fields)
        return [_to_texts(found[name]) for name in self._fields.names or ()]


def _to_texts(fields: NDArray[np.void]) -> pa.LargeStringArray:
    """Return fields without their ends."""
    n, width = len(fields), fields.dtype.itemsize
    offsets = np.arange(0, (n + 1) * width, width, dtype=np.int64)
    padded = pa.LargeStringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(fields.tobytes()))
    return pc.ascii_rtrim(padded, FIELD_END + PADDING.decode())


class SongRecords(SongTexts):
    """The texts of all songs, read from records where they fit, else from the columns.

    Parameters
    ----------
    songs : pyarrow.Table
        As :func:`with_records` returns it.
    """

    def __init__(self, songs: pa.Table) -> None:
        super().__init__(without_records(songs))
        self._whole, self._ids = Records(songs, WHOLE), Records(songs, ID)

    def names(self, rows: Rows) -> Iterable[Names]:
        """Return the texts of some songs."""
        texts, complete = self._whole.texts(rows)
        found = zip(*[iter(texts)] * len(self.columns), strict=True)
        return found if complete else self._completed(found, rows)

    def _completed(self, found: Iterable[tuple[str, ...]], rows: Rows) -> Iterable[Names]:
        """Yield texts with None for missing ones, and all of a song that did not fit."""
        for texts, row in zip(found, rows.tolist(), strict=True):
            yield self.name(row) if texts[0] == NO_TEXT else tuple(None if t == NO_TEXT else t for t in texts)

    def ids(self, rows: Rows) -> list[str]:
        """Return the ids of some songs."""
        ids, complete = self._ids.texts(rows)
        return ids if complete else super().ids(rows)

    def arrays(self, rows: Rows, names: bool) -> list[pa.LargeStringArray]:
        """Return the ids of some songs; with `names` the other columns too."""
        found = (self._whole if names else self._ids).arrays(rows)
        left_out = pc.equal(found[0], NO_TEXT)
        texts = [pc.if_else(pc.equal(field, NO_TEXT), None, field) for field in found]
        if not pc.any(left_out).as_py():
            return texts
        theirs = super().arrays(rows[left_out.to_numpy(zero_copy_only=False)], names)
        return [pc.replace_with_mask(field, left_out, those) for field, those in zip(texts, theirs, strict=True)]
