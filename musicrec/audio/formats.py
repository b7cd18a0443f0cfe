"""Which files are audio: the one list for the catalog, which picks files, and for FFmpeg, which may open them.

A format is known by the ending of a file's name, or by bytes that stand at a certain place near its start.
"""

from typing import NamedTuple

HEAD_BYTES = 1_100  # of a file, which is_audio needs
Sign = tuple[int, bytes]


class Format(NamedTuple):
    """A kind of audio file.

    Attributes
    ----------
    name : str
        As the documentation calls it.
    extensions : tuple of str
        Endings of names, without the dot. One that other files have too is left out.
    signs : tuple of tuple
        Where in a file which bytes stand, ``(offset, bytes)``; several such pairs if all are needed.
    decoder : str
        Who decodes it: ``libsndfile``, ``FFmpeg`` or both.
    demuxers : tuple of str
        FFmpeg's names for the containers.
    """

    name: str
    extensions: tuple[str, ...]
    signs: tuple[tuple[Sign, ...], ...]
    decoder: str
    demuxers: tuple[str, ...] = ()


def _starts(*heads: bytes) -> tuple[tuple[Sign, ...], ...]:
    return tuple(((0, head),) for head in heads)


BOTH = "libsndfile, else FFmpeg"
NEITHER = "neither"
FORMATS = (  # no demuxer that names other files, as a playlist does, and none that reads text as music
    Format("MP3, MP2, MP1", ("mp3", "mp2", "mp1", "mpga"), _starts(b"ID3"), BOTH, ("mp3",)),
    Format("FLAC", ("flac",), _starts(b"fLaC"), BOTH, ("flac",)),
    Format("Ogg: Vorbis, Opus, FLAC, Speex", ("ogg", "oga", "opus", "spx"), _starts(b"OggS"), BOTH, ("ogg",)),
    Format("WAV, RF64", ("wav", "rf64"), _starts(b"RIFF", b"RF64"), BOTH, ("wav",)),
    Format("Sony Wave64", ("w64",), _starts(b"riff\x2e\x91\xcf\x11"), BOTH, ("w64",)),
    Format("AIFF", ("aif", "aifc", "aiff"), _starts(b"FORM"), BOTH, ("aiff",)),
    Format("Sun AU", ("au", "snd"), _starts(b".snd"), BOTH, ("au",)),
    Format("Core Audio", ("caf",), _starts(b"caff"), BOTH, ("caf",)),
    Format("NIST Sphere", ("sph",), _starts(b"NIST"), "libsndfile"),
    Format("MP4, QuickTime", ("m4a", "m4b", "mp4", "mov"), (((4, b"ftyp"),),), "FFmpeg", ("mov",)),
    Format("AAC (ADTS)", ("aac",), _starts(b"\xff\xf1", b"\xff\xf9"), "FFmpeg", ("aac",)),
    Format("AAC (LOAS)", ("loas", "latm"), _starts(b"V\xe0", b"V\xe1", b"V\xe2", b"V\xe3"), "FFmpeg", ("loas",)),
    Format("AC-3", ("ac3",), _starts(b"\x0b\x77"), "FFmpeg", ("ac3",)),
    Format("E-AC-3", ("eac3", "ec3"), (), "FFmpeg", ("eac3",)),
    Format(
        "MLP, TrueHD",
        ("mlp", "thd"),
        (((4, b"\xf8\x72\x6f\xbb"),), ((4, b"\xf8\x72\x6f\xba"),)),
        "FFmpeg",
        ("mlp", "truehd"),
    ),
    Format("DTS", ("dts",), _starts(b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80"), "FFmpeg", ("dts",)),
    Format("AMR", ("amr",), _starts(b"#!AMR"), "FFmpeg", ("amr",)),
    Format("Windows Media", ("wma",), _starts(bytes.fromhex("3026b2758e66cf11")), "FFmpeg", ("asf", "xwma")),
    Format("Matroska, WebM", ("mka", "mkv", "webm"), _starts(b"\x1a\x45\xdf\xa3"), "FFmpeg", ("matroska",)),
    Format("RealAudio", ("ra", "rm"), _starts(b".RMF", b".ra\xfd"), "FFmpeg", ("rm",)),
    Format("Flash video", ("flv",), _starts(b"FLV\1"), "FFmpeg", ("flv",)),
    Format("MPEG transport stream", ("m2ts", "mts"), (((0, b"G"), (188, b"G"), (376, b"G")),), "FFmpeg", ("mpegts",)),
    Format("MPEG program stream", ("mpg", "mpeg", "vob"), _starts(b"\0\0\1\xba"), "FFmpeg", ("mpeg",)),
    Format("AVI", ("avi",), (((0, b"RIFF"), (8, b"AVI ")),), "FFmpeg", ("avi",)),
    Format("Monkey's Audio", ("ape",), _starts(b"MAC "), "FFmpeg", ("ape",)),
    Format("WavPack", ("wv",), _starts(b"wvpk"), "FFmpeg", ("wv",)),
    Format("True Audio", ("tta",), _starts(b"TTA1", b"TTA2"), "FFmpeg", ("tta",)),
    Format("Musepack", ("mpc", "mp+", "mpp"), _starts(b"MPCK", b"MP+"), "FFmpeg", ("mpc", "mpc8")),
    Format("TAK", ("tak",), _starts(b"tBaK"), "FFmpeg", ("tak",)),
    Format("Shorten", ("shn",), _starts(b"ajkg"), "FFmpeg", ("shn",)),
    Format("Creative Voice", ("voc",), _starts(b"Creative Voice File"), "FFmpeg", ("voc",)),
    Format("DSD: DSF, DSDIFF", ("dsf", "dff"), _starts(b"DSD ", b"FRM8"), "FFmpeg", ("dsf", "iff")),
    Format(
        "Tracker modules: XM, IT, S3M, MOD",
        ("xm", "s3m"),
        (((0, b"Extended Module: "),), ((0, b"IMPM"),), ((44, b"SCRM"),), ((1080, b"M.K."),)),
        NEITHER,
    ),
)
EXTENSIONS = frozenset(f".{extension}" for form in FORMATS for extension in form.extensions)
DEMUXERS = tuple(demuxer for form in FORMATS for demuxer in form.demuxers)
# These pictures begin like wav (RIFF) or mp4 (ftyp); bytes 8 to 12 tell them apart.
PICTURES = frozenset((b"WEBP", b"avif", b"avis", b"crx ", b"heic", b"heix", b"mif1", b"msf1"))


def is_audio(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of audio.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` of the file, or all if it has fewer.

    Examples
    --------
    >>> is_audio(b"fLaC"), is_audio(b"Dear Ada, ")
    (True, False)
    """
    if head[8:12] in PICTURES:
        return False
    is_mpeg = len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] >> 4 != 15
    return bool(is_mpeg) or of(head) is not None


def of(head: bytes) -> Format | None:
    """Return the format whose signs the first bytes of a file bear."""
    for form in FORMATS:
        for signs in form.signs:
            if all(head[at : at + len(sign)] == sign for at, sign in signs):
                return form
    return None
