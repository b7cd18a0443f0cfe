"""What the tags of all formats have in common: the names that each gives to the few fields musicrec reads."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from musicrec.stages.catalog.file_tags.text import clean

Values = list[tuple[str, str]]  # names as the format has them, in the order of the file; one may stand several times

NAMES = {
    "title": ("TITLE", "TIT2", "©nam", "INAM", "NAME", "com.apple.quicktime.title", "com.apple.quicktime.displayname"),
    "artist": ("ARTIST", "TPE1", "©ART", "IART", "AUTH", "AUTHOR", "WM/AUTHOR", "com.apple.quicktime.artist"),
    "artists": ("ARTISTS", "TXXX:ARTISTS", "----:ARTISTS", "WM/ARTISTS"),
    "album_artist": (
        *("ALBUMARTIST", "ALBUM ARTIST", "ALBUM_ARTIST", "TPE2", "aART", "WM/ALBUMARTIST"),
        *("TXXX:ALBUMARTIST", "TXXX:ALBUM ARTIST", "----:ALBUMARTIST", "----:ALBUM ARTIST", "IAAR"),
    ),
    "album": ("ALBUM", "TALB", "©alb", "IPRD", "WM/ALBUMTITLE", "com.apple.quicktime.album"),
    "compilation": ("COMPILATION", "TCMP", "cpil", "TXXX:COMPILATION", "WM/ISCOMPILATION", "----:COMPILATION"),
    "genre": ("GENRE", "TCON", "©gen", "gnre", "IGNR", "WM/GENRE", "com.apple.quicktime.genre"),
    "isrc": ("ISRC", "TSRC", "----:ISRC", "WM/ISRC", "TXXX:ISRC"),
    "recording_mbid": (
        *("MUSICBRAINZ_TRACKID", "UFID:http://musicbrainz.org", "----:MusicBrainz Track Id", "MUSICBRAINZ/TRACK ID"),
        *("TXXX:MusicBrainz Track Id", "TXXX:MUSICBRAINZ_TRACKID"),
    ),
    "track_mbid": (
        *("MUSICBRAINZ_RELEASETRACKID", "TXXX:MusicBrainz Release Track Id", "----:MusicBrainz Release Track Id"),
        *("MUSICBRAINZ/RELEASE TRACK ID", "TXXX:MUSICBRAINZ_RELEASETRACKID"),
    ),
    "album_mbid": (
        *("MUSICBRAINZ_ALBUMID", "TXXX:MusicBrainz Album Id", "----:MusicBrainz Album Id", "MUSICBRAINZ/ALBUM ID"),
        "TXXX:MUSICBRAINZ_ALBUMID",
    ),
}
FIELD_OF = {name.casefold(): field for field, names in NAMES.items() for name in names}


def names_like(pattern: str) -> set[str]:
    """Return the names that a format gives to fields, by what its names look like.

    Examples
    --------
    >>> "TPE1" in names_like("T[A-Z0-9]{3}")
    True
    """
    return {name for names in NAMES.values() for name in names if re.fullmatch(pattern, name)}


class Tags(NamedTuple):
    """What a file says of itself."""

    sources: Sequence[Values] = ()  # of each tag in the file; the most exact comes first
    duration_s: float | None = None

    def of(self, field: str) -> list[str]:
        """Return the values of a field, each once, from the first tag that has any."""
        for values in self.sources:
            texts = (clean(text) for name, text in values if FIELD_OF.get(name.casefold()) == field)
            if own := list(dict.fromkeys(filter(None, texts))):
                return own
        return []
