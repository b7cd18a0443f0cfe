"""A small synthetic catalog to try musicrec with: songs in twelve invented styles, generated here.

A song is a melody on a rhythmic grid, noise percussion on the same grid and, in some styles, a drone. Every name says
synthetic: folders, files, titles, artists, albums. A few broken files are among the good ones, as in any real
collection.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from musicrec.audio.encode import FORMATS, encode
from musicrec.errors import ConfigError

Signal = npt.NDArray[np.float32]
Samples = npt.NDArray[np.int64]

MINOR, MAJOR, FIVE, WHOLE = (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11), (0, 2, 4, 7, 9), (0, 2, 4, 6, 8, 10)
SOFT, HOLLOW, BRIGHT = (1.0, 0.3, 0.1), (1.0, 0.0, 0.5, 0.0, 0.3, 0.0, 0.2), (1.0, 0.7, 0.5, 0.4, 0.3, 0.25)

STEPS_PER_BEAT, STEPS_PER_BAR, MOTIF_NOTES = 4, 16, 8
FADE_S = 0.01  # a note fades out, so that there is no click where the next one starts
VIBRATO_HZ = 5.5
PEAK = 10 ** (-3 / 20)  # -3 dBFS
USUAL_FORMATS = ("wav", "flac", "ogg", "mp3")
ARTISTS_PER_STYLE = 3


@dataclass(frozen=True)
class Style:
    """How the songs of one invented style sound; the defaults give a slow soft tone without percussion."""

    name: str
    tempo_bpm: tuple[float, float] = (80, 110)
    root_hz: float = 220
    scale: tuple[int, ...] = FIVE  # semitones above the root
    chord: tuple[int, ...] = (0,)  # scale degrees that sound together
    partials: tuple[float, ...] = SOFT  # amplitudes of partials 1, 2, 3, …; the highest stays below 11 kHz
    stretch: float = 1.0  # partial k sounds at k**stretch times the pitch: 1 is a string, more is a bell
    attack_s: float = 0.01
    decay_s: float = 0.4
    notes: float = 0.4  # share of the steps on which a note starts
    vibrato: float = 0.0  # semitones
    drone: float = 0.0  # drone, noise and drum are levels; the melody has level 1
    noise: float = 0.01
    drum: float = 0.0
    hits: float = 0.4  # share of the steps with a percussion stroke
    hit_s: float = 0.04  # decay of a stroke
    pole: float = 0.0  # colour of noise and percussion: dull towards 1, bright towards -1


STYLES = (
    Style("bells", root_hz=440, scale=MAJOR, stretch=1.15, partials=BRIGHT, decay_s=0.9, notes=0.3),
    Style("chirp", (130, 160), root_hz=880, scale=WHOLE, decay_s=0.08, notes=0.6, vibrato=0.8, noise=0.03, pole=-0.6),
    Style("clatter", (110, 150), scale=WHOLE, partials=HOLLOW, decay_s=0.12, drum=1.2, hits=0.7, hit_s=0.02, pole=-0.7),
    Style("drone", (50, 70), root_hz=110, scale=MINOR, partials=BRIGHT, attack_s=0.4, decay_s=4, notes=0.1, drone=0.8),
    Style("gears", (120, 140), root_hz=82, partials=BRIGHT, decay_s=0.15, notes=0.7, drum=0.8, hits=0.5, pole=0.5),
    Style("glass", root_hz=660, scale=WHOLE, chord=(0, 2), attack_s=0.08, decay_s=1.2, notes=0.2, stretch=1.1),
    Style("hum", (60, 80), root_hz=147, chord=(0, 2, 4), attack_s=0.25, decay_s=3, notes=0.12, vibrato=0.2, noise=0.04),
    Style("pluck", (90, 130), root_hz=196, scale=MAJOR, partials=BRIGHT, attack_s=0.003, decay_s=0.2, notes=0.6),
    Style("pulse", (115, 135), root_hz=98, scale=MINOR, chord=(0, 4), decay_s=0.3, drum=1.5, hits=0.2, pole=0.95),
    Style("rain", (70, 100), root_hz=440, decay_s=0.3, notes=0.25, noise=0.15, drum=0.4, hits=0.8, hit_s=0.015),
    Style("reeds", (70, 100), root_hz=294, scale=MINOR, partials=HOLLOW, attack_s=0.06, decay_s=2, vibrato=0.3),
    Style("swarm", (140, 170), root_hz=165, chord=(0, 1, 3), partials=BRIGHT, decay_s=1, notes=0.8, vibrato=1.2),
)

# Song number 0 of some styles: good songs that a careless program fails on. Their names are not ASCII, or occur in two
# folders, or their format needs FFmpeg (opus: FFmpeg or a recent libsndfile).
ODD_SONGS = {
    "bells": "bells-écho-夜.ogg",
    "clatter": "clatter-00.m4a",
    "drone": "interlude.flac",
    "glass": "glass-00.wma",
    "hum": "hum-00.opus",
    "pulse": "interlude.flac",
    "reeds": "reeds-00.aac",
    "swarm": "swarm-00.webm",
}


def render(style: Style, rng: np.random.Generator, seconds: float, sample_rate: int) -> Signal:
    """Render one song of a style; key, tempo, rhythm, melody and variations of the sound are drawn from `rng`.

    Parameters
    ----------
    style : Style
        A row of `STYLES`.
    rng : numpy.random.Generator
        Two songs of a style differ only in their generator.
    seconds : float
        Length in seconds, above 0.
    sample_rate : int
        In Hz.

    Returns
    -------
    numpy.ndarray, float32 [round(seconds · sample_rate)]
        Mono, with its peak at -3 dBFS.
    """
    n = round(seconds * sample_rate)
    style = _shade(style, rng)
    step = 60 * sample_rate / STEPS_PER_BEAT / rng.uniform(*style.tempo_bpm)
    steps = np.arange(0, n, step).astype(np.int64)
    root_hz = style.root_hz * 2 ** (rng.integers(-4, 5) / 12)

    notes, hits = (_rhythm(rng, share, steps, n) for share in (style.notes, style.hits))
    song = _voices(style, root_hz * _melody(style, rng, len(notes)), notes, sample_rate)
    if style.drone:
        song += style.drone * _tone(style, np.full(n, root_hz / 2), sample_rate)
    song += (style.noise + style.drum * _strokes(hits, 0.001, style.hit_s, sample_rate)) * _noise(rng, n, style.pole)
    song *= PEAK / np.abs(song).max()
    return song


def _shade(style: Style, rng: np.random.Generator) -> Style:
    """Vary the style for one song: a little duller or brighter, shorter or longer, cleaner or noisier."""
    tilt, decay, noise, drum = rng.normal(0, (0.5, 0.4, 0.8, 0.4)).tolist()
    return replace(
        style,
        partials=tuple(a * k**tilt for k, a in enumerate(style.partials, 1)),
        decay_s=style.decay_s * math.exp(decay),
        noise=style.noise * math.exp(noise),
        drum=style.drum * math.exp(drum),
    )


def _rhythm(rng: np.random.Generator, share: float, steps: Samples, n: int) -> Samples:
    """Return the samples from each stroke to the next, `n` in total.

    Strokes are on about `share` of the steps; the pattern of one bar is repeated.
    """
    bar = rng.random(STEPS_PER_BAR) < share
    bar[0] = True
    return np.diff(steps[np.resize(bar, len(steps))], append=n)


def _melody(style: Style, rng: np.random.Generator, n_notes: int) -> npt.NDArray[np.float64]:
    """Return pitches relative to the root, [chord × n_notes]: a repeated motif, each note with its chord."""
    motif = np.cumsum(rng.integers(-2, 3, MOTIF_NOTES)) % (len(style.scale) + 1)
    degrees = np.resize(motif, n_notes) + np.array(style.chord)[:, None]
    octaves, degrees = np.divmod(degrees, len(style.scale))
    return np.asarray(2 ** (octaves + np.array(style.scale)[degrees] / 12))


def _voices(style: Style, pitches_hz: npt.NDArray[np.float64], lengths: Samples, rate: int) -> Signal:
    """Play voices together, [voices × notes] Hz, with notes of `lengths` samples; [sum of lengths], within ±1."""
    bend = 2 ** (style.vibrato / 12 * _sine(VIBRATO_HZ / rate * np.arange(lengths.sum())))
    tones = [_tone(style, np.repeat(pitch_hz, lengths) * bend, rate) for pitch_hz in pitches_hz]
    chord: Signal = np.mean(tones, axis=0)
    return chord * _strokes(lengths, style.attack_s, style.decay_s, rate)


def _strokes(lengths: Samples, attack_s: float, decay_s: float, rate: int) -> Signal:
    """Return the loudness of consecutive strokes of `lengths` samples; [sum of lengths], 0 to 1."""
    starts = np.cumsum(lengths) - lengths
    age_s = ((np.arange(lengths.sum()) - np.repeat(starts, lengths)) / rate).astype(np.float32)
    left_s = np.repeat((lengths / rate).astype(np.float32), lengths) - age_s
    loudness: Signal = (1 - np.exp(-age_s / attack_s)) * np.exp(-age_s / decay_s) * np.minimum(1, left_s / FADE_S)
    return loudness


def _tone(style: Style, pitch_hz: npt.NDArray[np.float64], rate: int) -> Signal:
    """Return a tone with the style's partials over a pitch that may glide; [n] Hz in, [n] within ±1 out."""
    cycles = np.cumsum(pitch_hz) / rate
    tone = sum(a * _sine(cycles * k**style.stretch) for k, a in enumerate(style.partials, 1) if a)
    return np.asarray(tone / sum(style.partials), np.float32)


def _sine(cycles: npt.NDArray[np.float64]) -> Signal:
    """Return the sine of a phase in cycles: in float32 for speed, still precise as whole cycles are removed first."""
    sine: Signal = np.sin(2 * np.pi * (cycles - np.floor(cycles)).astype(np.float32))
    return sine


def _noise(rng: np.random.Generator, n: int, pole: float) -> Signal:
    """Return noise [n] of unit variance, filtered with one pole."""
    white = rng.standard_normal(n, np.float32)
    return np.asarray(lfilter([np.sqrt(1 - pole**2)], [1, -pole], white), np.float32)


def write_catalog(folder: Path, *, songs_per_style: int = 10, seconds: float = 8.0, seed: int = 0) -> int:
    """Write the synthetic catalog, one subfolder per style. Existing files are left as they are.

    Parameters
    ----------
    folder : pathlib.Path
        Created if it is missing.
    songs_per_style : int
        At least 1. Eight good songs with odd names or formats and six broken files are added.
    seconds : float
        Length of a song, in seconds, 0.5 to 600; it varies by ± 20 %.
    seed : int
        0 or more; the same seed gives the same samples.

    Returns
    -------
    int
        Number of files written: 0 if the catalog was complete.

    Raises
    ------
    ConfigError
        A number is out of range, or `folder` is a file.
    """
    if songs_per_style < 1 or not 0.5 <= seconds <= 600 or seed < 0:
        given = f"songs_per_style = {songs_per_style}, seconds = {seconds}, seed = {seed}"
        raise ConfigError(f"demo catalog: {given}; expected at least 1, 0.5 to 600, at least 0")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"demo catalog: {folder} is a file; give a folder, new or existing")
    written = [
        _write_missing(folder / name, partial(_song, style, number, name.rpartition(".")[2], seconds, seed))
        for name, style, number in _songs(songs_per_style)
    ]
    written += [_write_missing(folder / name, partial(bytes, content)) for name, content in _broken(seconds).items()]
    return sum(written)


def _write_missing(path: Path, make: Callable[[], bytes]) -> bool:
    """Write the result of `make` atomically, unless `path` exists; return whether it was written."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(make())
    part.replace(path)
    return True


def _songs(songs_per_style: int) -> Iterator[tuple[str, Style, int]]:
    """Yield path below the catalog's folder, style and number of every good song; odd songs have number 0."""
    for index, style in enumerate(STYLES):
        label = f"synthetic-{style.name}"
        for number in range(1, songs_per_style + 1):
            yield f"{label}/{label}-{number:02d}.{USUAL_FORMATS[(index + number) % len(USUAL_FORMATS)]}", style, number
        if style.name in ODD_SONGS:
            yield f"{label}/synthetic-{ODD_SONGS[style.name]}", style, 0


def _broken(seconds: float) -> dict[str, bytes]:
    """Return the broken files that a catalog must survive: path below the catalog's folder, and content."""
    silence = np.zeros(round(seconds * 22_050), np.float32)
    return {
        "synthetic-chirp/synthetic-chirp-empty.mp3": b"",
        "synthetic-gears/synthetic-gears-cut.mp3": b"\xff\xfb\x90\x00" + bytes(32),  # cut off after a frame's header
        "synthetic-glass/synthetic-glass-cut.wav": encode(silence, 22_050, "wav")[:44],  # after the file's header
        "synthetic-hum/synthetic-hum-text.mp3": b"A synthetic text that only its name calls audio.\n",
        "synthetic-rain/synthetic-rain-silent.flac": encode(silence, 22_050, "flac"),
        "synthetic-reeds/synthetic-reeds-sample.wav": encode(silence[:1] + 0.5, 22_050, "wav"),
    }


def _song(style: Style, number: int, extension: str, seconds: float, seed: int) -> bytes:
    """Return the encoded song. Sample rate and stereo alternate out of step with the formats: all pairs occur."""
    index = STYLES.index(style)
    turn = index + number
    rng = np.random.default_rng((seed, index, number))
    sample_rate = 44_100 if turn // len(USUAL_FORMATS) % 4 == 3 else 22_050
    rates = FORMATS[extension].rates or (sample_rate,)
    sample_rate = sample_rate if sample_rate in rates else rates[0]
    samples = render(style, rng, seconds * rng.uniform(0.8, 1.2), sample_rate)
    if turn % 5 == 0:
        samples = np.column_stack([samples, 0.6 * samples])
    artist = ARTISTS_PER_STYLE * index + number % ARTISTS_PER_STYLE + 1
    tags = {
        "title": f"Synthetic {style.name} {number}",
        "artist": f"Synthetic artist {artist}",
        "album": f"Synthetic album {artist}",
    }
    return encode(samples, sample_rate, extension, **tags)
