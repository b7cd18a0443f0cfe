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
        ("recording", pa.string()),  # that the track is all or a part of; clips of one song share it
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

MEL = pa.schema(  # of ``mel`` and of ``mel96``
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
        ("probabilities", pa.list_(pa.float32())),  # of genres, in the order of the classes in the footer's lineage
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

# A row for each model, split, seed and tested song; the footer's lineage holds the classes and the number of folds.
EVALUATION = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),  # random: no song on both sides; artist: no artist on both sides
        ("seed", pa.int32()),
        ("fold", pa.int32()),
        ("track_id", pa.string()),
        ("genre", pa.string()),
        ("predicted", pa.string()),
        ("probabilities", pa.list_(pa.float32())),  # in the order of the classes
    ]
)

SCORES = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("genre", pa.string()),  # null: all genres
        ("value", pa.float64()),
        ("low", pa.float64()),  # 95 % interval over artists; null where there is none
        ("high", pa.float64()),
        ("n_songs", pa.int64()),
        ("n_seeds", pa.int32()),
    ]
)

CURVES = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("seed", pa.int32()),
        ("fold", pa.int32()),
        ("epoch", pa.int32()),
        ("loss", pa.float32()),
        ("accuracy", pa.float32()),
        ("test_loss", pa.float32()),
        ("test_accuracy", pa.float32()),
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
CLUSTERS = pa.schema(
    [
        ("track_id", pa.string()),
        ("cluster", pa.int32()),  # -1: noise
        ("point", pa.list_(pa.float32())),  # coordinates in which it was found
    ]
)
SWEEP = pa.schema(
    [
        ("algorithm", pa.string()),
        ("components", pa.int32()),
        ("asked", pa.int32()),  # number of clusters; null where the algorithm finds it
        ("clusters", pa.int32()),
        ("silhouette", pa.float32()),  # null where it is not defined
        ("davies_bouldin", pa.float32()),
    ]
)


def features_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of the ``features`` table: ``track_id`` and one float32 column a feature."""
    return pa.schema([("track_id", pa.string()), *((name, pa.float32()) for name in names)])


def segments_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of the ``segments`` table: a row for each segment of a clip, with the columns of ``features``."""
    key = [("track_id", pa.string()), ("segment", pa.int16()), ("start_s", pa.float32())]  # start within the clip
    return pa.schema([*key, *((name, pa.float32()) for name in names)])
