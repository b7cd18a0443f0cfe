"""Every file decoded twice: by musicrec, and by programs that share no decoder with it.

musicrec decodes MP3 by mpg123, FLAC by libFLAC, Vorbis by libvorbis and Opus by libopus, all inside libsndfile.
FFmpeg's own decoders of these are other code; of AAC, which musicrec decodes by FFmpeg, faad is, and so are mpcdec and
wvunpack of their formats. The formats' own programs show what their makers mean by a file. Programs that are not
installed are left out; Debian has all.

A file passes if both are equally long and start at the same moment, to 32 samples, and are equally loud, to 0.1 dB; and
so for its clip of 30 s. Every difference needs a cause in `CAUSES`; one without ends the program with exit code 1.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import soundfile as sf

from benchmarks.shared.common import one_thread, parser, print_machine, print_table
from musicrec import audio
from musicrec.audio import Samples
from musicrec.errors import DecodeError
from musicrec.monitor.text_table import Cell

WHOLE_S = 24 * 3600.0
MOST_LAG = 32  # samples
MOST_LEVEL_DB = 0.1
MOST_LENGTH = 32  # samples
LEAST_R = 0.99
SILENCE = 1e-4  # a root mean square below this has no level
TIME_S = 120
EXCEPTIONS = ("differs", "refused", "ours only")
VERDICTS = ("passes", *EXCEPTIONS, "neither")
UNKNOWN = "UNKNOWN"


class Decoder(NamedTuple):
    """A program that decodes: the extensions it is asked for, and its arguments, with IN and OUT for the files."""

    program: str
    extensions: tuple[str, ...]
    arguments: str
    version: str

    def installed(self) -> str:
        """Return the version, the first number that the program prints."""
        made = subprocess.run([self.program, self.version], capture_output=True, text=True, check=False)
        return next(iter(re.findall(r"\d+\.[\d.]*\d", made.stdout + made.stderr)), "")


DECODERS = (
    Decoder("ffmpeg", (), "-v error -nostdin -i IN -vn -map 0:a:0 -c:a pcm_f32le -f wav -y OUT", "-version"),
    Decoder("flac", (".flac",), "--decode --silent --force --output-name=OUT IN", "--version"),
    Decoder("oggdec", (".ogg",), "--quiet --output OUT IN", "--version"),
    Decoder("opusdec", (".opus",), "--quiet --float --rate 48000 --force-wav IN OUT", "--version"),
    Decoder("mpg123", (".mp3", ".bit"), "--quiet --encoding f32 --wav OUT IN", "--version"),
    Decoder("faad", (".m4a", ".aac"), "-q -b 4 -o OUT IN", "--help"),
    Decoder("mpcdec", (".mpc",), "IN OUT", "--version"),
    Decoder("wvunpack", (".wv",), "-q -y IN -o OUT", "--version"),
    Decoder("sox", (".wav", ".sph"), "-V1 IN -t wav -e floating-point -b 32 OUT", "--version"),
)
CAUSES = (  # which program, which file, why
    ("ffmpeg", "02 - increasing*", "it mixes later channels to the first layout by weights; musicrec takes the mean"),
    (
        "ffmpeg",
        "l3-he_mode.bit",
        "it raises mono to stereo by weights where the first frame is stereo; musicrec takes the mean",
    ),
    ("ffmpeg", "ILL2_layer1.bit", "it takes no single frame for a stream"),
    ("ffmpeg", "l[12]-fl*.bit", "it leaves out frames at the start; mpg123 and minimp3 do not"),
    (
        "ffmpeg",
        "l3-compl.bit",
        "it makes sound of a last frame that the end of the file cuts; mpg123 and minimp3 do not",
    ),
    ("ffmpeg", "*-sideinfo-size.bit", "it makes sound of a last frame that the end of the file cuts"),
    ("ffmpeg", "*-sideinfo-b*.bit", "damaged frames, which each decoder fills in its own way"),
    ("ffmpeg", "l3-he_free.bit", "it knows no free format"),
    ("ffmpeg", "l3-test46.bit", "intensity stereo of MPEG-2: FFmpeg, mpg123 and minimp3 differ from each other"),
    ("flac", "02 - increasing*", "it stops where the number of channels changes"),
    ("oggdec", "bach.ogg", "it reads Vorbis only"),
    ("mpg123", "test3.mp3", "it drops 529 samples of its own delay where no tag states any; FFmpeg and minimp3 do not"),
    ("mpg123", "l3-he_mode.bit", "it begins a new WAV where the number of channels changes"),
    ("mpg123", "l2-nonstandard-*.bit", "free format of layer II, in whose frames it misses bits: refused"),
    ("mpg123", "l3-nonstandard-*.bit", "frames against the standard, of which it leaves some out"),
    ("mpg123", "l3-sin1k0db.bit", "it leaves out the first frame; of a tone of 1 kHz the lag is any number of periods"),
    ("faad", "*", "it drops the first frame of 1024 samples, though this file has no edit list; FFmpeg does not"),
)


class Difference(NamedTuple):
    """What musicrec gives beside another decoder."""

    seconds: float
    length: int  # samples more than the other
    lag: int  # samples later than the other
    level_db: float
    r: float

    @property
    def seen(self) -> str:
        """Moment, level and shape in words."""
        return f"lag {self.lag:+d}, {self.level_db:+.2f} dB, r {self.r:.3f}"

    @property
    def faults(self) -> str:
        """What is too large."""
        found = {
            "length": abs(self.length) > MOST_LENGTH,
            "lag": abs(self.lag) > MOST_LAG,
            "level": abs(self.level_db) > MOST_LEVEL_DB,
            "shape": self.r < LEAST_R,
        }
        return ", ".join(name for name, is_wrong in found.items() if is_wrong)


def decoded(decoder: Decoder, path: Path, folder: Path) -> tuple[Samples, int] | None:
    """Return what a program makes of a file, mono, and its rate; None if it makes nothing."""
    out = folder / "out.wav"
    out.unlink(missing_ok=True)
    names = {"IN": str(path), "OUT": str(out)}
    arguments = [names.get(word, word.replace("=OUT", f"={out}")) for word in decoder.arguments.split()]
    subprocess.run([decoder.program, *arguments], capture_output=True, timeout=TIME_S, check=False)
    try:
        samples, rate = sf.read(out, dtype="float32", always_2d=True)
    except sf.LibsndfileError:
        return None
    return (samples.mean(axis=1), rate) if len(samples) else None


def lag_of(ours: Samples, theirs: Samples) -> int:
    """Return by how many samples `ours` is late, from the largest product of the two."""
    n = 1 << (len(ours) + len(theirs)).bit_length()
    product = np.fft.irfft(np.fft.rfft(ours, n) * np.conj(np.fft.rfft(theirs, n)), n)
    at = int(np.argmax(product))
    return at if at <= n // 2 else at - n


def compare(ours: Samples, theirs: Samples, rate: int) -> Difference:
    """Compare two decodings of one file; where one is silent, the moment and the shape are not looked at."""
    seconds, length = len(ours) / rate, len(ours) - len(theirs)
    levels = [float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) for samples in (ours, theirs)]
    if max(levels) < SILENCE:
        return Difference(seconds, length, 0, 0.0, 1.0)
    lag = lag_of(ours, theirs)
    a, b = ours[max(lag, 0) :], theirs[max(-lag, 0) :]
    a, b = a[: len(b)].astype(np.float64), b[: len(a)].astype(np.float64)
    powers = a @ a, b @ b
    if not all(powers):
        return Difference(seconds, length, lag, np.inf, 0.0)
    return Difference(
        seconds,
        length,
        lag,
        10 * float(np.log10(powers[0] / powers[1])),
        float(a @ b) / float(np.sqrt(powers[0] * powers[1])),
    )


def judged(path: Path, decoder: Decoder, folder: Path) -> tuple[str, str]:
    """Return whether a file passes, and what was seen."""
    theirs, rate = decoded(decoder, path, folder) or (None, 22_050)
    try:
        whole = audio.load(str(path), sample_rate=rate, offset_s=0, duration_s=WHOLE_S)
        clip = audio.load(str(path), sample_rate=rate)
    except DecodeError as e:
        if theirs is None:
            return "neither", str(e)
        return "refused", f"{e}; {len(theirs) / rate:.2f} s by {decoder.program}"
    if theirs is None:
        return "ours only", f"{len(whole) / rate:.2f} s"
    start, stop = audio.clip_window(len(theirs), rate, 30, 30)
    for name, ours, other in (("whole", whole, theirs), ("clip", clip, theirs[start:stop])):
        found = compare(ours, other, rate)
        if found.faults:
            return "differs", f"{found.faults} of the {name}: {found.length:+d} of {len(other)} samples, {found.seen}"
    return "passes", ""


def cause(decoder: Decoder, path: Path) -> str:
    """Return why a file may differ; nothing if that is not known."""
    return next(
        (why for program, name, why in CAUSES if fnmatch(decoder.program, program) and fnmatch(path.name, name)), ""
    )


def files(folders: Sequence[Path]) -> list[Path]:
    """Return all files below folders; end the program with one line if there are none."""
    found = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return found or sys.exit(f"no files in {', '.join(map(str, folders))}: give --data or set MUSICREC_DATA")


def main() -> None:
    """Print how many files pass, by program, and those that do not."""
    p = parser(__doc__, "python -m benchmarks.extract.second_decoder")
    p.add_argument("folders", nargs="*", type=Path, help="folders of audio (default: odd and songs of the data)")
    options = p.parse_args()
    one_thread()
    print_machine("av", "soundfile")
    listed = files(options.folders or [options.data / "odd", options.data / "songs"])
    counts: list[tuple[Cell, ...]] = []
    exceptions: list[tuple[str, ...]] = []
    with TemporaryDirectory() as folder:
        for decoder in (d for d in DECODERS if shutil.which(d.program)):
            paths = [path for path in listed if not decoder.extensions or path.suffix in decoder.extensions]
            found = [(path, *judged(path, decoder, Path(folder))) for path in paths]
            verdicts = [verdict for _, verdict, _ in found]
            counts.append((f"{decoder.program} {decoder.installed()}", len(found), *map(verdicts.count, VERDICTS)))
            exceptions += [
                (decoder.program, path.name, verdict, seen, cause(decoder, path) or UNKNOWN)
                for path, verdict, seen in found
                if verdict in EXCEPTIONS
            ]
    print_table(("program", "files", *VERDICTS), counts)
    print_table(("program", "file", "verdict", "seen", "cause"), exceptions)
    if any(why == UNKNOWN for *_, why in exceptions):
        sys.exit("some differences have no known cause")


if __name__ == "__main__":
    main()
