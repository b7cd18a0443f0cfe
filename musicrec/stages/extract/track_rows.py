"""Make the row of one track: its outcome and, if that is ``ok``, all its values for the tables. Without Ray or OUT.

A run makes the tables of :func:`tables_of`. The values of a track are one dict, with a value for each column. A table
with rows of its own (:attr:`Table.is_apart`) has the list of its rows under its name.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec import audio, features
from musicrec.errors import DecodeError
from musicrec.schemas import FAILED, IMAGES, MEL, OK, SKIPPED, Reason, features_schema, segments_schema
from musicrec.settings import ExtractSettings
from musicrec.stages.extract import faults
from musicrec.store.lineage import made_by, to_metadata
from musicrec.store.outcomes import Outcome
from musicrec.store.table_spec import Row, Table

SILENCE_PEAK = 1e-6  # -120 dB: below the last bit of 16-bit audio
LOUDEST = 1e6  # full scale is 1, or 2^15 for integers kept as floats; above, a bit has flipped and squares may overflow
IMAGE_BYTES = 64 * 1024  # approximate size of the two PNGs of a track
ID_BYTES = 32
LINEAGE = {"hop_length": features.HOP_LENGTH}
MEL_DICTIONARIES = ("track_id", "mel.list.element")
MEL96_RATE, MEL96_SAMPLES = 12_000, 349_440  # 29.12 s: 1 366 frames (K. Choi et al., ICASSP 2017)
MEL96_FRAMES = {"n_fft": 512, "hop_length": 256, "n_mels": 96}

Samples = NDArray[np.float32]


class Wanted(NamedTuple):
    """A track that the tables should hold: its file, and the fingerprint of content and settings."""

    track_id: str
    uri: str
    fingerprint: str
    size_bytes: int = 0
    work_s: float = 1.0  # estimated seconds, used to cut shards; no value in a table depends on it

    @property
    def row(self) -> Row:
        """Key of this track's row."""
        return self.track_id, self.fingerprint


def tables_of(settings: ExtractSettings) -> list[Table]:
    """Return the tables that extract makes with `settings`; their schemas carry the footer of a part."""
    names = features.feature_names(settings.feature_sets)
    row_bytes = ID_BYTES + 4 * len(names)
    longest_s = settings.duration_s + 1  # a file that is itself a clip may be up to a second longer
    frames = 1 + int(longest_s * settings.sample_rate) // features.HOP_LENGTH
    tables = [
        Table("features", features_schema(names), row_bytes, LINEAGE),
        Table("mel", MEL, ID_BYTES + 4 * settings.n_mels * frames, LINEAGE, dictionaries=MEL_DICTIONARIES),
    ]
    if settings.segment_s:
        segments_bytes = row_bytes * int(longest_s / settings.segment_s)
        tables.append(Table("segments", segments_schema(names), segments_bytes, LINEAGE, is_apart=True))
    if settings.images:
        tables.append(Table("images", IMAGES, IMAGE_BYTES, LINEAGE))
    if settings.mel96:
        frames = 1 + MEL96_SAMPLES // MEL96_FRAMES["hop_length"]
        lineage = {"sample_rate": MEL96_RATE, **MEL96_FRAMES}
        row_bytes = ID_BYTES + 4 * MEL96_FRAMES["n_mels"] * frames
        tables.append(Table("mel96", MEL, row_bytes, lineage, is_apart=True, dictionaries=MEL_DICTIONARIES))
    return [
        table._replace(schema=table.schema.with_metadata(to_metadata(made_by(settings, **table.lineage))))
        for table in tables
    ]


OPTIONAL_TABLES = frozenset({"segments", "images", "mel96"})


def extract_track(track: Wanted, settings: ExtractSettings) -> dict[str, Any]:
    """Make the row of one track: its outcome and, if that is ``ok``, its values for the tables.

    Parameters
    ----------
    track : Wanted
        Which file.
    settings : ExtractSettings
        What is decoded and computed.

    Returns
    -------
    dict
        Columns of ``outcomes``, and what :meth:`Table.of` reads. Nothing is raised: the outcome says what is wrong with
        the file.
    """
    started = time.perf_counter()
    try:
        row = _full_row(track, settings)
    except DecodeError as e:
        row = outcome_row(track, settings.stage, FAILED, e.reason, e.detail)
    except Exception as e:  # a fault with one file must not stop the others
        row = outcome_row(track, settings.stage, FAILED, Reason.ERROR, faults.describe(e))
    return row | {"seconds": time.perf_counter() - started}


def outcome_row(
    track: Wanted, stage: str, status: str, reason: Reason | None = None, detail: str | None = None
) -> dict[str, Any]:
    """Make the row of a track that has an outcome but no values."""
    return Outcome(track.track_id, stage, status, reason, detail, track.fingerprint)._asdict()


def _full_row(track: Wanted, settings: ExtractSettings) -> dict[str, Any]:
    rate = settings.sample_rate
    y = audio.load(track.uri, sample_rate=rate, offset_s=settings.offset_s, duration_s=settings.duration_s)
    if problem := problem_of(len(y), float(np.abs(y).max()), rate, settings.min_duration_s):
        return outcome_row(track, settings.stage, *problem)
    analysis = features.analyse(y, rate)
    values = features.evaluate(analysis, settings.feature_sets)
    segments = _segments(y, settings)
    if not all(_finite(named) for named in (values, *segments)):
        return outcome_row(track, settings.stage, FAILED, Reason.NOT_FINITE, "a feature is NaN or infinite")
    mel = analysis.mel(settings.n_mels)
    row = outcome_row(track, settings.stage, OK) | values | _stored(mel) | {"segments": segments}
    if settings.mel96:
        row["mel96"] = [_stored(_mel96(y, rate))]
    return row | (_images(y, mel) if settings.images else {})


class Problem(NamedTuple):
    """Why a clip that was decoded has no values."""

    status: str
    reason: Reason
    detail: str


def problem_of(n_samples: int, peak: float, rate: int, min_duration_s: float) -> Problem | None:
    """Return why a clip of some length, with its largest absolute sample, cannot be used; None if it can."""
    if n_samples < min_duration_s * rate:
        return Problem(SKIPPED, Reason.TOO_SHORT, f"{n_samples} samples, less than {min_duration_s:g} s")
    if peak > LOUDEST:
        return Problem(FAILED, Reason.CORRUPT, f"a sample of {peak:.0e}; expected about -1 to 1")
    if peak < SILENCE_PEAK:
        return Problem(SKIPPED, Reason.SILENT, "the whole clip is below -120 dB")
    return None


def _stored(mel: Samples) -> dict[str, Any]:
    """Return the columns of a mel-spectrogram [n_mels, n_frames].

    Rounded, it has few different values, so that a dictionary of them halves the file. Many readers have no float16.
    """
    return {"mel": mel.astype(np.float16).astype(np.float32).ravel(), "n_frames": mel.shape[1]}


def _mel96(y: Samples, rate: int) -> Samples:
    """Compute the mel-spectrogram that cnn and crnn read, in dB relative to its loudest cell, [96, at most 1 366].

    soxr resamples the clip to 12 kHz at quality HQ. Only the first 29.12 s of a longer clip are used.
    """
    return features.mel(audio.resample(y, rate, MEL96_RATE)[:MEL96_SAMPLES], MEL96_RATE, **MEL96_FRAMES)


def _finite(values: dict[str, float]) -> bool:
    return bool(np.isfinite(np.array(list(values.values()), np.float32)).all())


def _segments(y: Samples, settings: ExtractSettings) -> list[dict[str, float]]:
    """Compute number, start and features of each whole segment of a clip."""
    length = round(settings.segment_s * settings.sample_rate)
    return [
        {"segment": i, "start_s": i * length / settings.sample_rate}
        | features.extract(y[i * length : (i + 1) * length], settings.sample_rate, settings.feature_sets)
        for i in range(len(y) // length if length else 0)
    ]


def _images(y: Samples, mel: Samples) -> dict[str, bytes]:
    from musicrec.features import images

    return {
        "spectrogram": images.to_png(images.spectrogram_image(mel)),
        "waveform": images.to_png(images.waveform_image(y)),
    }
