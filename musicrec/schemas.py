"""Column names and Arrow schemas of every table, in one place."""

from collections.abc import Iterable

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
