"""Artists who made songs together: whatever keeps artists apart must keep such circles of artists apart."""

from collections.abc import Collection, Sequence


def circles(artists: Sequence[Collection[str] | None]) -> list[str | None]:
    """Return the circle of each song: artists are in one circle if a chain of songs connects them.

    Parameters
    ----------
    artists : sequence of collections of str
        Artists of each song, [n]; None or empty where they are unknown.

    Returns
    -------
    list of (str or None)
        Name of the circle of each song, which is its first artist in the order of names; None where no artist is known.

    Examples
    --------
    >>> circles([["Ada", "Ben"], ["Ben", "Cem"], ["Cem"], ["Dot"], []])
    ['Ada', 'Ada', 'Ada', 'Dot', None]
    """
    above: dict[str, str] = {}

    def first(artist: str) -> str:
        while (parent := above.setdefault(artist, artist)) != artist:
            above[artist] = artist = above[parent]
        return artist

    known = [sorted(set(filter(None, of_song or ()))) for of_song in artists]
    for of_song in known:
        for artist in of_song:
            low, high = sorted((first(of_song[0]), first(artist)))
            above[high] = low
    return [first(of_song[0]) if of_song else None for of_song in known]


def groups_apart(
    artists: Sequence[Collection[str] | None], recordings: Sequence[str | None], track_ids: Sequence[str]
) -> list[str]:
    """Return the group of each song that a split keeps on one side: its circle, else its recording, else itself.

    Parameters
    ----------
    artists : sequence of collections of str
        Artists of each song, [n]; None or empty where they are unknown.
    recordings, track_ids : sequence of str
        Recording of each song, where it is known, and its id.

    Examples
    --------
    >>> groups_apart([["Ada"], [], None], [None, "take 1", None], ["a", "b", "c"])
    ['Ada', 'take 1', 'c']
    """
    return [
        group or recording or own for group, recording, own in zip(circles(artists), recordings, track_ids, strict=True)
    ]
