"""The search as one types finds what a scan of all names finds, in the same order."""

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given

from musicrec.serve import song_search
from musicrec.serve.song_names import WORDS_OF, rows_with_words, searchable
from musicrec.serve.song_search import SongSearch

LETTERS = st.text("abab ÄßςΣé\n夜-", max_size=6)
SONGS = st.lists(st.tuples(LETTERS, st.none() | LETTERS, st.none() | LETTERS), max_size=12)


@pytest.mark.parametrize("most_seen", [1, 3, 3000])
@given(rows=SONGS, text=LETTERS | st.text("ab ", min_size=1, max_size=2), n=st.integers(1, 6))
def test_the_first_songs_are_those_of_a_scan(most_seen, rows, text, n):
    columns = list(zip(*rows, strict=True)) if rows else [()] * 3
    songs = pa.table([pa.array(column, pa.string()) for column in columns], WORDS_OF)
    wanted = rows_with_words(text, searchable(songs), best_first=True)[:n]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(song_search, "MOST_SEEN", most_seen)
        assert SongSearch(songs).first(text, n).tolist() == wanted.tolist()


def test_songs_that_begin_with_the_words_come_first_and_neither_case_nor_accents_count():
    rows = [("1", "Ann", "My vibe"), ("2", "Ben", "VIBE ace"), ("3", "Vîbe", "x"), ("vibe/4", None, None)]
    songs = pa.table(list(map(list, zip(*rows, strict=True))), WORDS_OF)
    assert SongSearch(songs).first("vibe", 9).tolist() == [1, 2, 0, 3]
    assert SongSearch(songs).first("ace ben", 9).tolist() == [1]
    assert SongSearch(songs).first("–", 9).tolist() == []
