"""Near misses: the song whose artist and title are most like those of a listen, word by word."""

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from rapidfuzz import fuzz, process

ARTISTS_KEPT = 65_536  # results of the last artists that were looked for
CANDIDATES = 8


class NearNames:
    """The names of songs, to be searched by names that are nearly theirs.

    Parameters
    ----------
    names : iterable of tuple
        Artist, title and row of each song, names in the forms of :mod:`name_forms`.
    least : float
        How alike each word must be to that of the song, in percent.
    """

    def __init__(self, names: Iterable[tuple[str, str, int]], least: float) -> None:
        self._least = least
        self._titles: dict[str, dict[str, int]] = defaultdict(dict)
        for artist, title, row in names:
            self._titles[artist].setdefault(title, row)
        self._artists = list(self._titles)
        self._near = lru_cache(ARTISTS_KEPT)(self._near_artists)

    def find(self, artists: list[str], title: str) -> int | None:
        """Return the row of the most similar song, the first of several; None if none is similar enough.

        Parameters
        ----------
        artists : list of str
            Forms of the artist, the best first.
        title : str
            Form of the title.
        """
        best = max(
            (
                (min(of_artist, alike), -row)
                for form in artists
                for of_artist, artist in self._near(form)
                for other, row in self._titles[artist].items()
                if (alike := likeness(title, other, self._least)) >= self._least
            ),
            default=None,
        )
        return None if best is None else -best[1]

    def _near_artists(self, form: str) -> list[tuple[float, str]]:
        if form in self._titles:
            return [(100.0, form)]
        found = process.extract(
            form, self._artists, scorer=fuzz.ratio, processor=None, score_cutoff=self._least, limit=CANDIDATES
        )
        alike = [(likeness(form, name, self._least), name) for name, *_ in found]
        return [(value, name) for value, name in alike if value >= self._least]


def likeness(a: str, b: str, least: float = 0.0) -> float:
    """Return how alike two names are in the word in which they differ most, in percent.

    A word with a digit, and a word more or less, make other names: "Symphony 5" is not "Symphony 6".

    Parameters
    ----------
    a, b : str
        Names in the forms of :mod:`name_forms`.
    least : float
        What is less alike counts as 0.

    Returns
    -------
    float
        From 0 to 100, which is equal.

    Examples
    --------
    >>> likeness("beautifull day", "beautiful day") > 90, likeness("part 1", "part 2"), likeness("hey", "hey live")
    (True, 0.0, 0.0)
    """
    words = list(zip(a.split(), b.split(), strict=False))
    if a.count(" ") != b.count(" ") or any(x != y and not (x + y).isalpha() for x, y in words):
        return 0.0
    return min((fuzz.ratio(x, y, score_cutoff=least) for x, y in words), default=0.0)
