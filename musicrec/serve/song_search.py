"""The first songs that have some words in their names, for people who see them while they type."""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from musicrec.serve.song_names import rows_with_words, searchable, words_of

MOST_SEEN = 1500  # songs that are looked at one by one for each word; then all are, at once


class SongSearch:
    """Finds songs by words.

    Parameters
    ----------
    songs : pyarrow.Table
        Their columns ``track_id``, ``artist`` and ``title``.
    """

    def __init__(self, songs: pa.Table) -> None:
        texts = searchable(songs)
        whole = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.large_string())
        _, offsets, data = whole.buffers()
        self._data = data.to_pybytes() if data else b""
        self._texts = pa.LargeStringArray.from_buffers(len(whole), offsets, pa.py_buffer(self._data))
        self._offsets = memoryview(offsets or bytes(8)).cast("q")[: len(whole) + 1]

    def first(self, text: str, n: int) -> NDArray[np.int64]:
        """Return the rows of the first `n` songs that have every word of a text in their id, artist or title.

        Those whose artist or title begins with the text come first; both parts are in the order of the songs.
        """
        text, words = words_of(text)
        if not words:
            return np.zeros(0, np.int64)
        inner = [word.encode() for word in sorted(words, key=len, reverse=True)]
        begin, is_enough = self._among(f"\n{text}".encode(), inner, n)
        if len(begin) < n and is_enough:
            for part in inner:  # one of them may be rare
                found, is_enough = self._among(part, inner, n + len(begin))
                if is_enough:
                    return np.array(list(dict.fromkeys(begin + found))[:n], np.int64)
        return np.array(begin, np.int64) if len(begin) == n else rows_with_words(text, self._texts, best_first=True)[:n]

    def _among(self, part: bytes, words: list[bytes], n: int) -> tuple[list[int], bool]:
        """Return the first `n` rows with every word among those with a part, and whether these are `n` or all."""
        found: list[int] = []
        for n_seen, row in enumerate(self._rows_with(part), 1):
            own = self._data[self._offsets[row] : self._offsets[row + 1]]
            if all(word in own for word in words):
                found.append(row)
            if len(found) == n or n_seen == MOST_SEEN:
                return found, len(found) == n
        return found, True

    def _rows_with(self, part: bytes) -> Iterator[int]:
        """Yield the rows of the texts that have some bytes in them."""
        at = self._data.find(part)
        while at >= 0:
            row = bisect_right(self._offsets, at) - 1
            end = self._offsets[row + 1]
            is_within = at + len(part) <= end  # and does not begin in one text and end in the next
            if is_within:
                yield row
            at = self._data.find(part, end if is_within else at + 1)
