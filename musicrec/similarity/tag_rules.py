"""Rules for tags: which songs may stand in a list at all, by the scores that a pretrained model gave them."""

import numpy as np
from numpy.typing import NDArray

from musicrec.settings import Rules, tag_rule
from musicrec.similarity.songs import Songs


def broken(songs: Songs, rules: Rules) -> NDArray[np.bool_]:
    """Return which songs break which rule for a tag.

    A song without tags breaks the rules that require one, and no rule that excludes one.

    Parameters
    ----------
    songs : Songs
        The songs.
    rules : Rules
        The rules.

    Returns
    -------
    numpy.ndarray
        bool [n_songs, n_rules], those of ``require_tag`` first.

    Examples
    --------
    >>> from musicrec.similarity import songs_of
    >>> songs = songs_of({"genre": [None] * 3}, tags=[[0.5], [0.1], [float("nan")]])
    >>> broken(songs, Rules(require_tag=("jazz=0.3",))).ravel().tolist()
    [False, True, True]
    >>> broken(songs, Rules(exclude_tag=("jazz=0.3",))).ravel().tolist()
    [True, False, False]
    """
    required, excluded = (
        np.array([tag_rule(text).score for text in texts], np.float32)
        for texts in (rules.require_tag, rules.exclude_tag)
    )
    tags = songs.tags
    if tags is None:
        tags = np.full((len(songs.genre), len(required) + len(excluded)), np.nan, np.float32)
    lacks = ~(tags[:, : len(required)] >= required)
    return np.hstack([lacks, tags[:, len(required) :] >= excluded])


def allowed(songs: Songs, rules: Rules) -> NDArray[np.int64] | None:
    """Return the ascending row numbers of the songs that break no rule for a tag; None if there is no such rule."""
    if not rules.require_tag and not rules.exclude_tag:
        return None
    return np.flatnonzero(~broken(songs, rules).any(axis=1))
