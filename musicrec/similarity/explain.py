"""Why a song is not in another song's list: its rank in the catalog, and the rule, cap or score that kept it out.

All songs of the catalog are ranked, and taken in order as :func:`musicrec.similarity.refine` takes them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.settings import Rules
from musicrec.similarity.filters import Cap, agreement, caps_of, limits_of, longest, passes, take
from musicrec.similarity.hubness import rescored
from musicrec.similarity.ranking import ranked
from musicrec.similarity.rules import DEEPER, pool_depth, statistics_of
from musicrec.similarity.search.blocks import Lists
from musicrec.similarity.search.exact import top_n
from musicrec.similarity.songs import Songs
from musicrec.similarity.tag_rules import allowed, broken


class Verdict(NamedTuple):
    """Where a song ranks for another song, and what kept it out of the list.

    Attributes
    ----------
    rank : int
        Rank among all other songs by similarity alone, from 1.
    n_others : int
        Number of other songs.
    similarity : float
        The similarity of the two songs.
    score : float
        The score by which lists are ranked; it differs from the similarity with genre boost or a method against hubs.
    kept_out_by : str
        Name of the rule: one of :class:`musicrec.settings.Rules`; ``n`` if the list was full; ``hubness`` if the song
        is beyond the pool that a method against hubs ranks anew; empty if the song is in the list.
    instead : list of int
        Rows of the songs of the list that hold its place: those of the same artist, album or recording if there is a
        cap, the last one of the list for ``n``.
    """

    rank: int
    n_others: int
    similarity: float
    score: float
    kept_out_by: str
    instead: list[int]


def why_not(matrix: NDArray[np.floating], songs: Songs, rules: Rules, row: int, other: int) -> Verdict:
    """Return why a song is not in another song's list.

    Parameters
    ----------
    matrix : numpy.ndarray
        [N, d], finite: the vectors of all songs.
    songs : Songs
        What the rules look at in each song.
    rules : Rules
        The rules.
    row, other : int
        Row of the song whose list it is, and of the song that may be in it.

    Returns
    -------
    Verdict
        Rank, scores and rule.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity import songs_of
    >>> vectors = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2]])
    >>> songs, rules = songs_of({"artist_id": ["Ann", "Ann", "Ben"]}), Rules(n=1, no_same_artist=True)
    >>> why_not(vectors, songs, rules, 0, 1).kept_out_by
    'no_same_artist'
    """
    everybody = top_n(matrix, len(matrix) - 1, rules.metric, rows=np.array([row]))
    place = int(np.flatnonzero(everybody.ids[0] == other)[0])
    similarity = float(everybody.scores[0, place])
    verdict = Verdict(place + 1, len(matrix) - 1, similarity, similarity, "", [])
    if rules.genre == "only" and songs.genre[row] not in (-1, songs.genre[other]):
        return verdict._replace(kept_out_by="genre")
    if name := _alone(songs, rules, row, other, similarity):
        return verdict._replace(kept_out_by=name)
    order, taken = _taken_in_order(matrix, songs, rules, row, everybody)
    found = np.flatnonzero(order.ids[0] == other)
    if not len(found):
        return verdict._replace(kept_out_by="hubness")
    kept_out_by, instead = _kept_out(order.ids[0, : found[0]], taken, caps_of(songs, rules), other)
    return verdict._replace(score=float(order.scores[0, found[0]]), kept_out_by=kept_out_by, instead=instead)


def _alone(songs: Songs, rules: Rules, row: int, other: int, similarity: float) -> str:
    """Return the rule that leaves the song out whatever else is in the list; empty if none does."""
    if (by_tag := np.flatnonzero(broken(songs, rules)[other])).size:
        return "require_tag" if by_tag[0] < len(rules.require_tag) else "exclude_tag"
    pair = Lists(np.array([[other]], np.int32), np.array([[similarity]], np.float32))
    for name in ("min_score", "duplicate_score"):
        alone = Rules.model_validate({"metric": rules.metric, name: getattr(rules, name)})
        if not passes(songs, alone, np.array([row]), pair)[0, 0]:
            return name
    own = (cap.own_rule for cap in caps_of(songs, rules) if cap.own_rule and cap.names.meet(row, other))
    return next(own, "")


def _members(songs: Songs, rules: Rules, row: int) -> NDArray[np.int64]:
    """Return the songs that the list may hold, by their genre and tags."""
    everybody = np.arange(len(songs.genre))
    by_tag = allowed(songs, rules)
    members = everybody if by_tag is None else by_tag
    if rules.genre == "only" and songs.genre[row] >= 0:
        return members[songs.genre[members] == songs.genre[row]]
    return members


def _taken_in_order(
    matrix: NDArray[np.floating], songs: Songs, rules: Rules, row: int, everybody: Lists
) -> tuple[Lists, list[int]]:
    """Return the candidates that pass on their own, in the order of the rules, and the songs of the list.

    With a method against hubs, a pool that does not fill the list is made deeper, and ranked anew.
    """
    members, limits, rows = _members(songs, rules, row), limits_of(songs, rules), np.array([row])
    chosen = np.isin(everybody.ids[0], members)
    near = Lists(everybody.ids[:, chosen], everybody.scores[:, chosen])
    of_songs = statistics_of(matrix, rules) if rules.hubness != "none" else None
    n_others = near.ids.shape[1]
    depth = pool_depth(rules, n_others + 1) if of_songs else n_others
    while True:
        pool = Lists(near.ids[:, :depth], near.scores[:, :depth])
        scores = pool.scores
        if of_songs:
            scores = rescored(pool, rules.hubness, of_songs, metric=rules.metric, rows=rows)
        elif rules.genre == "boost":
            scores = (scores.astype(np.float64) + rules.genre_weight * agreement(songs, rows, pool.ids)).astype(
                np.float32
            )
        order = ranked(np.where(passes(songs, rules, rows, pool), pool.ids, np.int32(-1)), scores)
        list_ids = take(order, limits, rows, min(rules.n, n_others)).ids[0]
        if depth >= n_others or (list_ids >= 0).sum() >= min(longest(limits)[row], len(list_ids)):
            return order, [int(song) for song in list_ids if song >= 0]
        depth = DEEPER * depth


def _kept_out(before: NDArray[np.int32], taken: list[int], caps: list[Cap], other: int) -> tuple[str, list[int]]:
    """Return the cap that kept a song out, and the songs that use it up; `before` are the candidates ranked higher."""
    if other in taken:
        return "", []
    held = [song for song in taken if song in set(before.tolist())]
    for cap in caps:
        for code in cap.names.of(other):
            holders = [song for song in held if code in cap.names.of(song)]
            if len(holders) >= cap.most:
                return cap.rule, holders
    return "n", taken[-1:]
