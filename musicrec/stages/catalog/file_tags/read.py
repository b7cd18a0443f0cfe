"""Read the tags of a file, by the reader that its first bytes call for, and its length."""

import struct
from pathlib import Path
from typing import BinaryIO

from musicrec.stages.catalog.file_tags.ape import read_ape
from musicrec.stages.catalog.file_tags.asf import HEADER as ASF
from musicrec.stages.catalog.file_tags.asf import read_asf
from musicrec.stages.catalog.file_tags.chunks import read_aiff, read_au, read_caf, read_dsf, read_riff, read_w64
from musicrec.stages.catalog.file_tags.fields import Tags, Values
from musicrec.stages.catalog.file_tags.id3 import music_start, read_v1, read_v2
from musicrec.stages.catalog.file_tags.lengths import length_s
from musicrec.stages.catalog.file_tags.matroska import read_matroska
from musicrec.stages.catalog.file_tags.mp4 import read_mp4
from musicrec.stages.catalog.file_tags.vorbis import read_flac, read_ogg

MAX_CREDIBLE_DURATION_S = 7 * 24 * 3600.0
EBML = b"\x1a\x45\xdf\xa3"
ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
PROBLEMS = (OSError, ValueError, ArithmeticError, LookupError, TypeError, struct.error)


def read_tags(path: Path) -> Tags:
    """Return what a file says of itself; nothing if it cannot be read, as tags are optional.

    Parameters
    ----------
    path : pathlib.Path
        Audio file of any format.
    """
    found, exact_s = Tags(), None
    try:
        with path.open("rb") as file:
            found = _read(file)
            exact_s = length_s(file, music_start(file))
    except PROBLEMS:
        pass
    duration_s = exact_s or found.duration_s
    return Tags(found.sources, duration_s if duration_s and 0 < duration_s < MAX_CREDIBLE_DURATION_S else None)


def _read(file: BinaryIO) -> Tags:
    head = file.read(16)
    if head.startswith(EBML):
        return read_matroska(file)
    if head[4:8] in ATOMS:
        return read_mp4(file)
    if head.startswith(ASF):
        return read_asf(file)
    file.seek(0)
    by_head = {
        b"fLaC": read_flac, b"OggS": read_ogg, b"RIFF": read_riff, b"RF64": read_riff, b"BW64": read_riff,
        b"FORM": read_aiff, b"riff": read_w64, b"caff": read_caf, b".snd": read_au, b"DSD ": read_dsf,
    }  # fmt: skip
    if reader := by_head.get(head[:4]):
        return Tags(reader(file))
    return Tags(_around_the_music(file))


def _around_the_music(file: BinaryIO) -> list[Values]:
    """Return the fields of tags that may stand before or after music of any format; the most exact come first."""
    before = read_v2(file)
    own = read_flac(file)[0] if before and file.read(4) == b"fLaC" and file.seek(-4, 1) else []
    return [own, before, read_ape(file), read_v1(file)]
