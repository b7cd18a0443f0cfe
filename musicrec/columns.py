"""Column names and Arrow schemas of every table, in one place."""

from collections.abc import Iterable

import pyarrow as pa

SCHEMA_VERSION = 1

TRACKS = pa.schema(
    [
        ("track_id", pa.string()),
        ("uri", pa.string()),
        ("content_hash", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified_ns", pa.int64()),
        ("duration_s", pa.float64()),  # as the header claims it; null where the header says nothing credible
        ("title", pa.string()),
        ("artist", pa.string()),
        ("artist_id", pa.string()),
        ("album", pa.string()),
        ("genre", pa.string()),
        ("split", pa.string()),
    ]
)

OUTCOMES = pa.schema(
    [
        ("track_id", pa.string()),
        ("stage", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("fingerprint", pa.string()),
        ("seconds", pa.float64()),
    ]
)
OK, SKIPPED, FAILED = "ok", "skipped", "failed"

MEL = pa.schema(
    [
        ("track_id", pa.string()),
        ("mel", pa.list_(pa.float16())),  # dB, row-major [n_mels × n_frames]
        ("n_frames", pa.int32()),
    ]
)

IMAGES = pa.schema(
    [
        ("track_id", pa.string()),
        ("spectrogram", pa.binary()),  # PNG, 256 × 256 × 3
        ("waveform", pa.binary()),  # PNG, 256 × 256 × 3
    ]
)

EMBEDDINGS = pa.schema(
    [
        ("track_id", pa.string()),
        ("model_id", pa.string()),
        ("embedding", pa.list_(pa.float32())),
    ]
)

SIMILAR = pa.schema(
    [
        ("track_id", pa.string()),
        ("rank", pa.int16()),
        ("similar_track_id", pa.string()),
        ("score", pa.float32()),
    ]
)

TUNING = pa.schema(
    [
        ("model", pa.string()),
        ("candidate", pa.string()),  # settings of the classifier, as JSON
        ("fold", pa.int16()),
        ("accuracy", pa.float64()),  # on the songs the fold holds out
        ("train_accuracy", pa.float64()),
    ]
)

# Stored in the model's folder, not in a table of its own.
HISTORY = pa.schema(
    [
        ("epoch", pa.int32()),
        ("loss", pa.float32()),
        ("accuracy", pa.float32()),
        ("test_loss", pa.float32()),
        ("test_accuracy", pa.float32()),
    ]
)
PREDICTIONS = pa.schema(
    [
        ("track_id", pa.string()),
        ("split", pa.string()),
        ("genre", pa.string()),
        ("predicted", pa.string()),
        ("probabilities", pa.list_(pa.float32())),
    ]
)


def features_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of the ``features`` table: ``track_id`` and one float32 column a feature."""
    return pa.schema([("track_id", pa.string()), *((name, pa.float32()) for name in names)])


def segments_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of the ``segments`` table: a row for each segment of a clip, with the columns of ``features``."""
    key = [("track_id", pa.string()), ("segment", pa.int16()), ("start_s", pa.float32())]  # start within the clip
    return pa.schema([*key, *((name, pa.float32()) for name in names)])
