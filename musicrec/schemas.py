"""Column names and Arrow schemas of every table, in one place."""

from collections.abc import Iterable
from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 1

TRACKS = pa.schema(
    [
        ("track_id", pa.string()),  # the song's id, unique in the catalog
        ("uri", pa.string()),  # where the song is: a path or a URI
        ("content_hash", pa.string()),  # hash of the file's bytes, or of what its server says of its version
        ("size_bytes", pa.int64()),  # size of the file
        ("modified_ns", pa.int64()),  # when the file was changed, in nanoseconds since 1970
        ("duration_s", pa.float64()),  # as the header claims it; null where the header says nothing credible
        ("title", pa.string()),  # as the collection or the manifest says, else the tags; so for artist and album
        ("artist", pa.string()),  # name of the artist
        ("artist_id", pa.string()),  # id of the artist, where the collection has one
        ("album", pa.string()),  # name of the album
        ("genre", pa.string()),  # as the folder, the collection or the manifest says, else the tags
        ("split", pa.string()),  # the split that the collection puts the song in
        ("recording", pa.string()),  # that the track is all or a part of; clips of one song share it
    ]
)

OUTCOMES = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("stage", pa.string()),  # catalog, extract, train, embed or similar
        ("status", pa.string()),  # ok, skipped or failed
        ("reason", pa.string()),  # why it was skipped or failed: a short stable code
        ("detail", pa.string()),  # the same in one line for people
        ("fingerprint", pa.string()),  # name of the settings and inputs that the result was made from
        ("seconds", pa.float64()),  # time that the song took
    ]
)
OK, SKIPPED, FAILED = "ok", "skipped", "failed"


class Reason(StrEnum):
    """Why a stage did not use a song: ``reason`` in the table ``outcomes``."""

    NOT_AUDIO = "not_audio"
    HIDDEN = "hidden"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    UNDECODABLE = "undecodable"
    CORRUPT = "corrupt"
    NOT_FINITE = "not_finite"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    ERROR = "error"
    TOO_SHORT = "too_short"
    SILENT = "silent"
    NO_GENRE = "no_genre"
    GENRE_OF_ONE_SONG = "genre_of_one_song"
    NEWER_THAN_MODEL = "newer_than_model"
    NO_FEATURES = "no_features"
    NO_EMBEDDING = "no_embedding"
    WITHDRAWN = "withdrawn"


# Of every stage, reason, meaning and remedy, as the documentation shows them.
REASONS: tuple[tuple[str, Reason, str, str], ...] = (
    ("catalog", Reason.NOT_AUDIO, "neither the name nor the first bytes are those of audio", "nothing"),
    (
        "catalog",
        Reason.HIDDEN,
        "the name begins with a dot, or that of a folder above it does",
        "nothing, or rename it",
    ),
    (
        "catalog, extract",
        Reason.MISSING,
        "there is no such file or object",
        "bring it back, or take it out of the manifest",
    ),
    (
        "catalog, extract",
        Reason.UNREADABLE,
        "permission denied, not a regular file, or its server does not answer",
        "solve that; then `--retry-failed`",
    ),
    ("extract", Reason.EMPTY, "no bytes, or no samples", "replace it"),
    ("extract", Reason.UNDECODABLE, "neither libsndfile nor FFmpeg finds audio in it", "replace or convert it"),
    ("extract", Reason.CORRUPT, "decoding stops midway, or a sample is impossibly loud", "replace it"),
    ("extract", Reason.NOT_FINITE, "a sample or a feature is NaN or infinite", "replace it"),
    ("extract", Reason.UNSUPPORTED, "over 32 channels, or a sample rate outside 1 to 768 kHz", "convert it"),
    (
        "extract",
        Reason.TOO_LARGE,
        "over 4 GiB, over 512 MiB to fetch, or the clip lies beyond 6 hours",
        "cut or convert it",
    ),
    (
        "extract",
        Reason.TIMEOUT,
        "took longer than `--seconds-per-file`, 300 by default",
        "`--retry-failed --seconds-per-file 900`",
    ),
    ("extract", Reason.CRASHED, "crashed every worker that decoded it, three times", "replace it; please report it"),
    (
        "extract",
        Reason.ERROR,
        "a bug in musicrec, not a fault of the file",
        "please report its `detail`; it is tried again after an update, or with `--retry-failed`",
    ),
    ("extract", Reason.TOO_SHORT, "shorter than `--min-duration-s`", "nothing"),
    ("extract", Reason.SILENT, "the whole clip is below -120 dB", "nothing, or choose another clip"),
    (
        "train",
        Reason.NO_GENRE,
        "it has no genre, so it cannot teach the model anything",
        "nothing: it is embedded and compared all the same",
    ),
    (
        "train",
        Reason.GENRE_OF_ONE_SONG,
        "no other song has its genre, so it cannot teach the model anything",
        "nothing: it is embedded and compared all the same",
    ),
    (
        "train",
        Reason.NEWER_THAN_MODEL,
        "it came after the model was trained, and a refresh keeps the model",
        "nothing, or `musicrec train OUT`",
    ),
    ("train, embed", Reason.NO_FEATURES, "extract did not finish it", "see its row of extract"),
    ("embed", Reason.NOT_FINITE, "the network gave NaN or infinity", "train again, with a smaller `--learning-rate`"),
    ("similar", Reason.NO_EMBEDDING, "embed did not finish it", "see its rows of the stages before"),
    ("similar", Reason.NOT_FINITE, "its vector is missing, or holds NaN or infinity", "train and embed again"),
    (
        "similar",
        Reason.WITHDRAWN,
        "it is not in the older table that a rollback published again",
        "nothing, or `musicrec similar OUT --force`",
    ),
)

MEL = pa.schema(  # of ``mel`` and of ``mel96``
    [
        ("track_id", pa.string()),  # the song
        ("mel", pa.list_(pa.float16())),  # dB, row-major [n_mels × n_frames]
        ("n_frames", pa.int32()),  # number of frames
    ]
)

IMAGES = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("spectrogram", pa.binary()),  # PNG, 256 × 256 × 3
        ("waveform", pa.binary()),  # PNG, 256 × 256 × 3
    ]
)

EMBEDDINGS = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("model_id", pa.string()),  # the model that made the vector
        ("embedding", pa.list_(pa.float32())),  # the vector
        ("probabilities", pa.list_(pa.float32())),  # of genres, in the order of the classes in the footer's lineage
    ]
)

SIMILAR = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("rank", pa.int16()),  # 1 for the most similar song
        ("similar_track_id", pa.string()),  # the similar song
        ("score", pa.float32()),  # cosine or minus the Euclidean distance, changed by genre boost and hubness
    ]
)

# A row for each model, split, seed and tested song; the footer's lineage holds the classes and the number of folds.
EVALUATION = pa.schema(
    [
        ("model", pa.string()),  # name of the model
        ("split", pa.string()),  # random: no song on both sides; artist: no artist on both sides
        ("seed", pa.int32()),  # seed of the cross-validation
        ("fold", pa.int32()),  # the fold that the song was tested in
        ("track_id", pa.string()),  # the tested song
        ("genre", pa.string()),  # its true genre
        ("predicted", pa.string()),  # the genre that the model gave it
        ("probabilities", pa.list_(pa.float32())),  # in the order of the classes
    ]
)

SCORES = pa.schema(
    [
        ("model", pa.string()),  # name of the model, or of models joined by +
        ("split", pa.string()),  # random or artist
        ("metric", pa.string()),  # name of the figure
        ("genre", pa.string()),  # null: all genres
        ("value", pa.float64()),  # the figure; a song counts once, by its mean over seeds
        ("low", pa.float64()),  # 95 % interval over artists; null where there is none
        ("high", pa.float64()),  # upper end of that interval
        ("n_songs", pa.int64()),  # number of tested songs
        ("n_seeds", pa.int32()),  # number of cross-validations
    ]
)

CURVES = pa.schema(
    [
        ("model", pa.string()),  # name of the network
        ("split", pa.string()),  # random or artist
        ("seed", pa.int32()),  # seed of the cross-validation
        ("fold", pa.int32()),  # the fold held out
        ("epoch", pa.int32()),  # number of the epoch, from 1
        ("loss", pa.float32()),  # loss on the training songs
        ("accuracy", pa.float32()),  # accuracy on the training songs
        ("test_loss", pa.float32()),  # loss on the tested songs
        ("test_accuracy", pa.float32()),  # accuracy on the tested songs
    ]
)

TUNING = pa.schema(
    [
        ("model", pa.string()),  # name of the model
        ("candidate", pa.string()),  # settings of the classifier, as JSON
        ("fold", pa.int16()),  # number of the inner fold
        ("accuracy", pa.float64()),  # on the songs the fold holds out
        ("train_accuracy", pa.float64()),  # on the songs that it was trained on
    ]
)

# Stored in the model's folder, not in a table of its own.
HISTORY = pa.schema(
    [
        ("epoch", pa.int32()),  # number of the epoch, from 1
        ("loss", pa.float32()),  # loss on the training songs
        ("accuracy", pa.float32()),  # accuracy on the training songs
        ("test_loss", pa.float32()),  # loss on the tested songs
        ("test_accuracy", pa.float32()),  # accuracy on the tested songs
    ]
)
PREDICTIONS = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("split", pa.string()),  # train or test
        ("genre", pa.string()),  # its true genre
        ("predicted", pa.string()),  # the genre that the model gave it
        ("probabilities", pa.list_(pa.float32())),  # of the genres, in the order of the classes in model.json
    ]
)
CLUSTERS = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("cluster", pa.int32()),  # -1: noise
        ("point", pa.list_(pa.float32())),  # coordinates in which it was found
    ]
)
SWEEP = pa.schema(
    [
        ("algorithm", pa.string()),  # name of the clustering
        ("components", pa.int32()),  # number of principal components
        ("asked", pa.int32()),  # number of clusters; null where the algorithm finds it
        ("clusters", pa.int32()),  # number of clusters found
        ("silhouette", pa.float32()),  # null where it is not defined
        ("davies_bouldin", pa.float32()),  # null where it is not defined
    ]
)


def features_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of the ``features`` table: ``track_id`` and one float32 column a feature."""
    return pa.schema([("track_id", pa.string()), *((name, pa.float32()) for name in names)])


def segments_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of the ``segments`` table: a row for each segment of a clip, with the columns of ``features``."""
    key = [("track_id", pa.string()), ("segment", pa.int16()), ("start_s", pa.float32())]  # start within the clip
    return pa.schema([*key, *((name, pa.float32()) for name in names)])
