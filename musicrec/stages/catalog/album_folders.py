"""Which folders are albums, judged by names alone: their own, and those of what lies in them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePath

DATED = re.compile(r"[(\[]?(19|20)\d\d[)\]]?(?=[\W_]).*\w.*|.+[(\[](19|20)\d\d[)\]]")  # 1998 - First, First (1998)
DISC = re.compile(r"(cd|dis[ck]|disque|lp|side|vol(ume)?\.?)[ _-]?(\d{1,2}|[ab])\b.*", re.IGNORECASE)
CREDITED = re.compile(r"(?![(\[]?\d{4}).+ [-–] .+")  # Ada - First
NUMBERED = re.compile(r"(\d{1,2}[-.])?\d{1,2}[ _.-]+\D.*")  # 01 - One, 1-01 One


def album_depth(songs: Iterable[Sequence[str]]) -> int | None:
    """Return how deep below a source most of its songs have their albums; None if they have none to be seen.

    An album's folder has a year in its name, or holds discs; or, two folders deep, its files are numbered. A folder at
    the top may also be named after artist and album; below another, such a name leaves open what the other is.

    Parameters
    ----------
    songs : iterable of sequence of str
        The folders on the way to each song, and the name of its file.

    Examples
    --------
    >>> album_depth([("Ada", "1998 - First", "one.mp3"), ("Ben", "2001 - Second", "two.mp3")])
    2
    >>> album_depth([("Ada - First", "one.mp3"), ("Ben - Second", "two.mp3")])
    1
    >>> album_depth([("rock", "one.mp3"), ("jazz", "two.mp3")])
    """
    files: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for *folders, name in songs:
        files[tuple(folders)].append(PurePath(name).stem)
    depths = Counter[int | None]()
    for folder, names in files.items():
        depths[_depth(folder, names)] += len(names)
    depth, n_songs = depths.most_common(1)[0] if depths else (None, 0)
    return depth if 2 * n_songs > depths.total() else None


def _depth(folder: Sequence[str], files: Sequence[str]) -> int | None:
    """Return how deep the album of a folder's files lies."""
    if len(folder) > 1 and DISC.fullmatch(folder[-1]):
        return len(folder) - 1
    if not folder or (CREDITED.fullmatch(folder[-1]) and len(folder) > 1):
        return None
    is_named = DATED.fullmatch(folder[-1]) or CREDITED.fullmatch(folder[-1])
    is_numbered = len(folder) > 1 and 2 * sum(bool(NUMBERED.fullmatch(name)) for name in files) > len(files)
    return len(folder) if is_named or is_numbered else None
