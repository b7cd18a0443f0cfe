"""The clips of a listening test: of equal length, loudness, rate and size, and without tags."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from musicrec.audio import load
from musicrec.audio.clip import Samples
from musicrec.audio.encode import encode_constant_mp3
from musicrec.audio.loudness import TARGET_LUFS, equally_loud
from musicrec.errors import DecodeError

RATE = 44_100
SUFFIX = ".mp3"
QUIETER_LU = 0.5  # a smaller difference is hardly heard
SLACK_S = 0.5  # so much may be missing of a clip
FADE_S = 0.05
OFFSET_S = 30.0  # as songs are heard by musicrec
WRITTEN_AT = 315_619_200  # the beginning of 1980, from where on archives hold times


class ClipFiles:
    """Makes the clip of each song once, in a folder.

    Parameters
    ----------
    folder : Path
        An empty folder.
    uris : mapping of str to str
        Where each song is, by track id.
    seconds : float
        Length of the clips.

    Attributes
    ----------
    left_out : dict of str to str
        Songs of which there is no clip, and why.
    quieter : dict of str to float
        Songs whose clips are quieter than the others, as their peaks would clip, and their loudness in LUFS.
    """

    def __init__(self, folder: Path, uris: Mapping[str, str], seconds: float) -> None:
        self._folder, self._uris, self._seconds = folder, uris, seconds
        self._made: dict[str, Path] = {}
        self.left_out: dict[str, str] = {}
        self.quieter: dict[str, float] = {}

    def make(self, track_id: str) -> bool:
        """Make the clip of a song; return whether there is one."""
        if track_id not in self._made and track_id not in self.left_out:
            clip = self._clip(track_id)
            if clip is not None:
                self._made[track_id] = self._folder / str(len(self._made))
                self._made[track_id].write_bytes(encode_constant_mp3(clip, RATE))
        return track_id in self._made

    def copy(self, track_id: str, target: Path) -> None:
        """Write the clip of a song that was made; its times tell nothing."""
        target.write_bytes(self._made[track_id].read_bytes())
        os.utime(target, (WRITTEN_AT, WRITTEN_AT))

    def _clip(self, track_id: str) -> Samples | None:
        try:
            samples = load(self._uris[track_id], sample_rate=RATE, offset_s=OFFSET_S, duration_s=self._seconds)
        except DecodeError as e:
            self.left_out[track_id] = str(e)
            return None
        if len(samples) < (self._seconds - SLACK_S) * RATE:
            self.left_out[track_id] = f"too short: {len(samples) / RATE:.1f} s; expected {self._seconds:g} s"
            return None
        loud = equally_loud(faded(samples, round(self._seconds * RATE)), RATE)
        if loud is None:
            self.left_out[track_id] = "silent"
            return None
        clip, lufs = loud
        if lufs < TARGET_LUFS - QUIETER_LU:
            self.quieter[track_id] = lufs
        return clip


def faded(samples: Samples, n: int) -> Samples:
    """Return exactly `n` samples that begin and end softly: what is too long is cut, what is missing is silence.

    Parameters
    ----------
    samples : numpy.ndarray
        float32 [any number].
    n : int
        Number of samples.
    """
    clip = np.array(samples[:n], np.float32)
    ramp = np.linspace(0, 1, min(round(FADE_S * RATE), len(clip) // 2), dtype=np.float32)
    clip[: len(ramp)] *= ramp
    clip[len(clip) - len(ramp) :] *= ramp[::-1]
    return np.pad(clip, (0, n - len(clip)))
