"""One track, one row: its outcome, and where that is ``ok`` everything that the tables hold of it. Neither Ray nor OUT.

A run has one table for each of :func:`tables_of`. What they hold of a track is one dict: a value for each column, and
for a table whose rows stand apart (:attr:`Table.is_apart`) the list of these under its name.
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
LOUDEST = 1e6  # full scale is 1, of integers kept as floats 2^15: beyond that a bit has flipped, and squares overflow
IMAGE_BYTES = 64 * 1024  # of both PNGs of a track, about
ID_BYTES = 32
LINEAGE = {"hop_length": features.HOP_LENGTH}
MEL96_RATE, MEL96_SAMPLES = 12_000, 349_440  # 29.12 s: 1 366 frames (K. Choi et al., ICASSP 2017)
MEL96_FRAMES = {"n_fft": 512, "hop_length": 256, "n_mels": 96}

Samples = NDArray[np.float32]


class Wanted(NamedTuple):
    """A track as the tables should hold it: its file, and the fingerprint of content and settings."""

    track_id: str
    uri: str
    fingerprint: str
    size_bytes: int = 0
    work_s: float = 1.0  # that it is guessed to take, for sharing out; no value in a table depends on it

    @property
    def row(self) -> Row:
        """What a row of this track is known by."""
        return self.track_id, self.fingerprint


def tables_of(settings: ExtractSettings) -> list[Table]:
    """The tables that extract makes by `settings`; their schemas carry the footer of a part."""
    names = features.feature_names(settings.feature_sets)
    row_bytes = ID_BYTES + 4 * len(names)
    longest_s = settings.duration_s + 1  # a recording that is itself a clip may be that much longer
    frames = 1 + int(longest_s * settings.sample_rate) // features.HOP_LENGTH
    tables = [
        Table("features", features_schema(names), row_bytes, LINEAGE),
        Table("mel", MEL, ID_BYTES + 2 * settings.n_mels * frames, LINEAGE),
    ]
    if settings.segment_s:
        segments_bytes = row_bytes * int(longest_s / settings.segment_s)
        tables.append(Table("segments", segments_schema(names), segments_bytes, LINEAGE, is_apart=True))
    if settings.images:
        tables.append(Table("images", IMAGES, IMAGE_BYTES, LINEAGE))
    if settings.mel96:
        frames = 1 + MEL96_SAMPLES // MEL96_FRAMES["hop_length"]
        lineage = {"sample_rate": MEL96_RATE, **MEL96_FRAMES}
        tables.append(Table("mel96", MEL, ID_BYTES + 2 * MEL96_FRAMES["n_mels"] * frames, lineage, is_apart=True))
    return [
        table._replace(schema=table.schema.with_metadata(to_metadata(made_by(settings, **table.lineage))))
        for table in tables
    ]


OPTIONAL_TABLES = frozenset({"segments", "images", "mel96"})


def extract_track(track: Wanted, settings: ExtractSettings) -> dict[str, Any]:
    """Row of one track: its outcome, and where that is ``ok`` what the tables hold of it.

    Parameters
    ----------
    track : Wanted
        Which file.
    settings : ExtractSettings
        What is decoded and computed.

    Returns
    -------
    dict
        Columns of ``outcomes``, and what :meth:`Table.of` reads. Whatever is wrong with the file, it is said here:
        nothing is raised.
    """
    started = time.perf_counter()
    try:
        row = _full_row(track, settings)
    except DecodeError as e:
        row = outcome_row(track, settings, FAILED, e.reason, e.detail)
    except Exception as e:  # one file, whatever is wrong with it, must not cost the others
        row = outcome_row(track, settings, FAILED, Reason.ERROR, faults.describe(e))
    return row | {"seconds": time.perf_counter() - started}


def outcome_row(
    track: Wanted, settings: ExtractSettings, status: str, reason: Reason | None = None, detail: str | None = None
) -> dict[str, Any]:
    """Row of a track that has an outcome and nothing else."""
    return Outcome(track.track_id, settings.stage, status, reason, detail, track.fingerprint)._asdict()


def _full_row(track: Wanted, settings: ExtractSettings) -> dict[str, Any]:
    rate = settings.sample_rate
    y = audio.load(track.uri, sample_rate=rate, offset_s=settings.offset_s, duration_s=settings.duration_s)
    if len(y) < settings.min_duration_s * rate:
        detail = f"{len(y)} samples, less than {settings.min_duration_s:g} s"
        return outcome_row(track, settings, SKIPPED, Reason.TOO_SHORT, detail)
    peak = np.abs(y).max()
    if peak > LOUDEST:
        return outcome_row(
            track, settings, FAILED, Reason.CORRUPT, f"a sample of {peak:.0e}; expected -1 to 1, or thereabouts"
        )
    if peak < SILENCE_PEAK:
        return outcome_row(track, settings, SKIPPED, Reason.SILENT, "the whole clip lies below -120 dB")
    analysis = features.analyse(y, rate)
    values = features.evaluate(analysis, settings.feature_sets)
    segments = _segments(y, settings)
    if not all(_finite(named) for named in (values, *segments)):
        return outcome_row(track, settings, FAILED, Reason.NOT_FINITE, "a feature is NaN or infinite")
    mel = analysis.mel(settings.n_mels)
    row = outcome_row(track, settings, OK) | values | _stored(mel) | {"segments": segments}
    if settings.mel96:
        row["mel96"] = [_stored(_mel96(y, rate))]
    return row | (_images(y, mel) if settings.images else {})


def _stored(mel: Samples) -> dict[str, Any]:
    """Columns of a mel-spectrogram [n_mels, n_frames]."""
    return {"mel": mel.astype(np.float16).ravel(), "n_frames": mel.shape[1]}


def _mel96(y: Samples, rate: int) -> Samples:
    """Mel-spectrogram that the cnn and the crnn read, in dB below its loudest cell, [96, at most 1 366].

    Its 12 kHz come from the clip by soxr, at quality HQ; of a clip longer than 29.12 s it is the first so many.
    """
    return features.mel(audio.resample(y, rate, MEL96_RATE)[:MEL96_SAMPLES], MEL96_RATE, **MEL96_FRAMES)


def _finite(values: dict[str, float]) -> bool:
    return bool(np.isfinite(np.array(list(values.values()), np.float32)).all())


def _segments(y: Samples, settings: ExtractSettings) -> list[dict[str, float]]:
    """Number, start and features of each whole segment of a clip."""
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
