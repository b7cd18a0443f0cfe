"""Songs that were renamed or moved within their source: they keep their ids, so that nothing is decoded again."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

from musicrec.audio import is_remote, local_path
from musicrec.stages.catalog.layouts import Listing, Track
from musicrec.stages.catalog.unread import out_of_sight, problem_of

Row = dict[str, Any]


def keep_ids(listing: Listing, before: Mapping[str, Row], content_hash: Callable[[Path], str]) -> int:
    """Give songs of a folder the ids that they had before; return how many have moved since.

    A song keeps its id while its file stays where it is. A new file takes the id of a song that is gone if its bytes
    are the same. Ids that a collection or a manifest gives are left as they are.

    Parameters
    ----------
    listing : Listing
        The source; its songs get their ids.
    before : mapping of str to dict
        Rows of ``tracks`` of the same source, by id.
    content_hash : callable
        Returns the hash of a file's bytes.
    """
    if listing.kind != "folder" or not before:
        return 0
    known = {row["uri"]: track_id for track_id, row in before.items()}
    gone, unread = _missing(listing, before)
    stay = {track.track_id for track in listing.tracks} & gone.keys()  # the source itself is elsewhere now
    new = [track for track in listing.tracks if track.uri not in known and track.track_id not in stay]
    for track in listing.tracks:
        track.track_id = known.get(track.uri, track.track_id)
    moved = _match(new, [row for track_id, row in gone.items() if track_id not in stay], content_hash)
    for track in new:
        track.track_id = moved.get(track.uri, track.track_id)
    unread |= {track_id for track_id in gone.keys() - moved.values() if out_of_sight(gone[track_id]["uri"])}
    _make_unique(listing, [track for track in new if track.uri not in moved], unread)
    return len(moved)


def _missing(listing: Listing, before: Mapping[str, Row]) -> tuple[dict[str, Row], set[str]]:
    """Return the songs whose files are no longer where they were, by id, and the ids of those that cannot be seen."""
    listed = {track.uri for track in listing.tracks}
    gone, unread = {}, set()
    for track_id, row in sorted(before.items()):
        if row["uri"] in listed or is_remote(row["uri"]):
            continue
        if problem_of(row["uri"], listing.unread):
            unread.add(track_id)
        elif not os.path.lexists(local_path(row["uri"])):
            gone[track_id] = row
    return gone, unread


def _match(new: list[Track], gone: list[Row], content_hash: Callable[[Path], str]) -> dict[str, str]:
    """Return the ids of songs that are gone, by the URI of the new file that holds the same."""
    moved: dict[str, str] = {}
    by_size: dict[int, list[Row]] = defaultdict(list)
    for row in gone:
        by_size[row["size_bytes"]].append(row)
    for track in sorted(new, key=lambda track: track.track_id):
        try:
            same_size = by_size.get(track.path.stat().st_size, []) if isinstance(track.path, Path) else []
            digest = content_hash(track.path) if same_size and isinstance(track.path, Path) else None
        except OSError:  # whoever reads its tags reports it
            continue
        if found := next((row for row in same_size if row["content_hash"] == digest), None):
            same_size.remove(found)
            moved[track.uri] = found["track_id"]
    return moved


def _make_unique(listing: Listing, new: list[Track], unread: set[str]) -> None:
    """Number new names that a song has already: a file may lie where another lay that has moved."""
    uris = {track.uri for track in new}
    taken = unread | {track.track_id for track in listing.tracks if track.uri not in uris}

    def free(name: str) -> str:
        names = chain([name], (f"{name}#{i}" for i in count(2)))
        chosen = next(candidate for candidate in names if candidate not in taken)
        taken.add(chosen)
        return chosen

    for track in new:
        track.track_id = free(track.track_id)
    listing.ignored = [(free(name), reason) for name, reason in listing.ignored]
    listing.tracks.sort(key=lambda track: track.track_id)
