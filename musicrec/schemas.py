"""Column names and Arrow schemas of every table, in one place."""

from collections.abc import Iterable
from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 1

TRACKS = pa.schema(
    [
        ("track_id", pa.string()),  # the song's id, unique in the catalog
        ("uri", pa.string()),  # where the song is: a path or a URI
        ("content_hash", pa.string()),  # hash of the file's bytes, or of its address, size and version on the server
        ("size_bytes", pa.int64()),  # size of the file
        ("modified_ns", pa.int64()),  # when the file was changed, in nanoseconds since 1970
        ("duration_s", pa.float64()),  # from the file's headers or frames; null if they give no credible value
        ("title", pa.string()),  # from the collection or the manifest, else from the tags; also artist and album
        ("artist", pa.string()),  # name of the artist, or of all with commas between them
        (
            "artist_id",
            pa.string(),
        ),  # id of the first artist: the source's, else the name as spellings share it
        ("artist_ids", pa.list_(pa.string())),  # ids of all its artists; empty if none is known
        ("album", pa.string()),  # name of the album
        ("album_id", pa.string()),  # artists and name of the album, in the form that spellings share
        ("genre", pa.string()),  # the first of ``genres``, spelled as in most songs of the catalog
        ("genres", pa.list_(pa.string())),  # from the folder, the collection or the manifest, else all of the tags
        ("split", pa.string()),  # the split that the source puts the song in
        ("recording", pa.string()),  # the recording that the track comes from; clips of one recording share it
        ("recording_mbid", pa.string()),  # MusicBrainz's id of the recording, from the tags; also the next three
        ("track_mbid", pa.string()),  # MusicBrainz's id of the track on its album
        ("album_mbid", pa.string()),  # MusicBrainz's id of the release
        ("isrc", pa.string()),  # International Standard Recording Code, without hyphens
    ]
)

OUTCOMES = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("stage", pa.string()),  # catalog, extract, train, embed, duplicates, similar, or vectors/ and a space
        ("status", pa.string()),  # ok, skipped or failed
        ("reason", pa.string()),  # why it was skipped or failed: a short stable code
        ("detail", pa.string()),  # the same as one line of text
        ("fingerprint", pa.string()),  # hash of the settings and inputs that the result was made from
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
    TOO_FEW_GENRES = "too_few_genres"
    NEWER_THAN_MODEL = "newer_than_model"
    NO_FEATURES = "no_features"
    NO_EMBEDDING = "no_embedding"
    NO_VECTOR = "no_vector"
    ZERO_VECTOR = "zero_vector"
    WRONG_LENGTH = "wrong_length"
    CONFLICTING_ROWS = "conflicting_rows"
    WITHDRAWN = "withdrawn"


# Stage, reason, meaning and remedy, as the documentation shows them.
REASONS: tuple[tuple[str, Reason, str, str], ...] = (
    ("catalog", Reason.NOT_AUDIO, "neither the file name nor the first bytes are those of audio", "nothing"),
    (
        "catalog",
        Reason.HIDDEN,
        "the name of the file, or of a folder above it, begins with a dot",
        "nothing, or rename it",
    ),
    (
        "catalog, extract, vectors",
        Reason.MISSING,
        "there is no such file or object",
        "put it back, or remove it from the manifest",
    ),
    (
        "catalog, extract, vectors",
        Reason.UNREADABLE,
        "permission denied, not a regular file, or its server does not answer",
        "fix the cause; then `--retry-failed`",
    ),
    ("extract, vectors", Reason.EMPTY, "no bytes, or no samples", "replace it"),
    (
        "extract, vectors",
        Reason.UNDECODABLE,
        "neither libsndfile nor FFmpeg finds audio in it",
        "replace or convert it",
    ),
    ("extract, vectors", Reason.CORRUPT, "decoding stops partway, or a sample is impossibly loud", "replace it"),
    ("extract", Reason.NOT_FINITE, "a sample or a feature is NaN or infinite", "replace it"),
    ("extract, vectors", Reason.UNSUPPORTED, "over 32 channels, or a sample rate outside 1 to 768 kHz", "convert it"),
    (
        "extract, vectors",
        Reason.TOO_LARGE,
        "over 4 GiB, over 512 MiB to fetch, or the clip lies beyond 6 hours",
        "cut or convert it",
    ),
    (
        "extract, vectors",
        Reason.TIMEOUT,
        "took longer than `--seconds-per-file`, 300 by default",
        "`--retry-failed --seconds-per-file 900`",
    ),
    ("extract, vectors", Reason.CRASHED, "crashed its worker three times", "replace it; please report it"),
    (
        "extract, vectors",
        Reason.ERROR,
        "a bug in musicrec, not a fault of the file",
        "please report its `detail`; musicrec tries it again after an update, or with `--retry-failed`",
    ),
    ("extract, vectors", Reason.TOO_SHORT, "shorter than `--min-duration-s`, or than the model takes", "nothing"),
    ("extract, vectors", Reason.SILENT, "the whole clip is below -120 dB", "nothing, or choose another clip"),
    (
        "train",
        Reason.NO_GENRE,
        "it has no genre, so the model cannot learn from it",
        "nothing: it is still embedded and compared",
    ),
    (
        "train",
        Reason.GENRE_OF_ONE_SONG,
        "no other song has its genre, so the model cannot learn from it",
        "nothing: it is still embedded and compared",
    ),
    (
        "train, embed",
        Reason.TOO_FEW_GENRES,
        "there are no two genres with two songs each, by artists who can be told apart, so there is no model",
        "nothing: it is compared by its features; or give genres to the songs",
    ),
    (
        "train",
        Reason.NEWER_THAN_MODEL,
        "it was added after the model was trained, and a refresh keeps the model",
        "nothing, or `musicrec train OUT`",
    ),
    (
        "train, embed, vectors, duplicates, similar",
        Reason.NO_FEATURES,
        "extract did not finish it",
        "see its row for extract",
    ),
    (
        "duplicates",
        Reason.TOO_SHORT,
        "less than 8 s of its clip is loud enough, too little to know a recording by",
        "nothing, or choose a longer clip",
    ),
    (
        "embed",
        Reason.NOT_FINITE,
        "the network returned NaN or infinity",
        "train again with a smaller `--learning-rate`",
    ),
    (
        "vectors",
        Reason.NO_VECTOR,
        "the file has no row for it, or its row holds no vector; or its model was removed from the machine",
        "add a row to the file, or the model again",
    ),
    (
        "vectors",
        Reason.NOT_FINITE,
        "a number of its vector is missing, NaN or infinite, or too large for float32",
        "mend its row of the file; or replace the song, if a model computed it",
    ),
    ("vectors", Reason.ZERO_VECTOR, "all numbers of its vector are 0", "mend its row of the file"),
    ("vectors", Reason.WRONG_LENGTH, "its vector is not as long as most others", "mend its row of the file"),
    ("vectors", Reason.CONFLICTING_ROWS, "its rows in the file hold different vectors", "keep one of its rows"),
    ("similar", Reason.ZERO_VECTOR, "in one of several spaces, all numbers of its vector are 0", "nothing"),
    (
        "train, embed, similar",
        Reason.NO_VECTOR,
        "a space that the model reads, or that songs are compared in, has no vector of it",
        "see its row for vectors",
    ),
    ("similar", Reason.NO_EMBEDDING, "embed did not finish it", "see its rows for the earlier stages"),
    ("similar", Reason.NOT_FINITE, "its vector is missing, or contains NaN or infinity", "train and embed again"),
    (
        "similar",
        Reason.WITHDRAWN,
        "it is not in the older table that a rollback published again",
        "nothing, or `musicrec similar OUT --force`",
    ),
)


class ListenReason(StrEnum):
    """Why a listen is not in the table ``histories``; its footer holds how many there are of each."""

    UNKNOWN_SONG = "unknown_song"
    NO_NAME = "no_name"
    NO_USER = "no_user"
    NOT_MUSIC = "not_music"
    PRIVATE = "private"
    PLAYING_NOW = "playing_now"
    FUTURE = "future"
    DUPLICATE = "duplicate"
    BAD_VALUE = "bad_value"
    DAMAGED = "damaged"


# Kinds of file, reason, meaning and remedy, as the documentation shows them.
LISTEN_REASONS: tuple[tuple[str, ListenReason, str, str], ...] = (
    ("all", ListenReason.UNKNOWN_SONG, "no song of the catalog is the one that it names", "nothing, or add the song"),
    ("all", ListenReason.NO_NAME, "it names no song", "nothing"),
    ("CSV, Parquet, lines of JSON", ListenReason.NO_USER, "it names no user", "mend the row, or say `--user NAME`"),
    ("Spotify", ListenReason.NOT_MUSIC, "it is an episode of a podcast or a chapter of a book", "nothing"),
    ("Spotify", ListenReason.PRIVATE, "it was in a private session", "nothing"),
    ("Last.fm", ListenReason.PLAYING_NOW, "the song was still playing", "nothing: the next page holds it"),
    ("all", ListenReason.FUTURE, "it is more than a day in the future", "mend the clock that gave its time"),
    ("all", ListenReason.DUPLICATE, "the same user began the same song in the same second", "nothing"),
    (
        "all",
        ListenReason.BAD_VALUE,
        "its time, its length, its number of plays or `skipped` cannot be read",
        "mend the row",
    ),
    (
        "CSV, JSON",
        ListenReason.DAMAGED,
        "the line is no JSON, or the row has too few or too many cells",
        "export the file again",
    ),
)

MEL = pa.schema(  # the schema of both ``mel`` and ``mel96``
    [
        ("track_id", pa.string()),  # the song
        ("mel", pa.list_(pa.float32())),  # dB, row-major [n_mels × n_frames]; rounded as float16
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
        ("probabilities", pa.list_(pa.float32())),  # one per genre, in the order of the classes in the footer's lineage
    ]
)

VECTORS = pa.schema(  # the schema of every table ``vectors/NAME``
    [
        ("track_id", pa.string()),  # the song
        ("embedding", pa.list_(pa.float32())),  # its vector: finite, not all 0, as long as all others of the table
    ]
)

FINGERPRINTS = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("codes", pa.list_(pa.uint32())),  # 32 bits for every 46 ms of the clip
        ("audible", pa.list_(pa.bool_())),  # whether the clip is above -60 dB there
        ("faster_codes", pa.list_(pa.uint32())),  # the same at each faster speed of the footer, row-major, zero-padded
        ("faster_audible", pa.list_(pa.bool_())),  # whether the clip is above -60 dB there; false in the padding
    ]
)

RECORDINGS = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("recording", pa.string()),  # the song that stands for the recording: the first of its files by track_id
        ("score", pa.float32()),  # share of the fingerprint's bits that differ from that song's; 0 is equal
        ("speed", pa.float32()),  # how fast it is played, as a multiple of that song's speed
        ("offset_s", pa.float32()),  # where its clip starts in that song's clip, in seconds of that song
    ]
)

SIMILAR = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("rank", pa.int16()),  # 1 for the most similar song
        ("similar_track_id", pa.string()),  # the similar song
        ("score", pa.float32()),  # cosine or minus the Euclidean distance; genre boost and hubness change it
    ]
)

MAP = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("x", pa.float32()),  # where it is on the map, to the right; finite
        ("y", pa.float32()),  # the same, upwards; similar songs are near each other, and the unit means nothing
        ("is_added", pa.bool_()),  # whether it came after the last layout of all songs, and stands among its neighbours
    ]
)

HISTORIES = pa.schema(
    [
        ("user_id", pa.string()),  # the listener
        ("track_id", pa.string()),  # a song that the listener has heard; null for a listener of unknown songs only
        ("plays", pa.int64()),  # number of listens that count as likes; 0 if all were skipped or too short
        ("seconds", pa.float64()),  # length of all listens whose length is known; null if none is
        ("first_at", pa.timestamp("ms", "UTC")),  # when the first listen began; null if no time is known
        ("last_at", pa.timestamp("ms", "UTC")),  # when the last listen began
    ]
)

RECOMMENDATIONS = pa.schema(
    [
        ("user_id", pa.string()),  # the listener
        ("rank", pa.int16()),  # 1 for the best song
        ("track_id", pa.string()),  # the recommended song
        ("score", pa.float32()),  # what the method ranks by; of popularity, how many listeners like the song
        ("method", pa.string()),  # that of the settings; genre_centres or popularity without enough likes
        ("because", pa.string()),  # the liked song that it is most similar to; null where no like led to it
    ]
)

LISTENER_SCORES = pa.schema(
    [
        ("split", pa.string()),  # time, last or random
        ("method", pa.string()),  # how songs were recommended
        ("against", pa.string()),  # null; else the values are those of method minus those of this method
        (
            "metric",
            pa.string(),
        ),  # recall, ndcg, map, hit_rate, coverage, novelty, diversity, artists_per_list or cold_share
        ("band", pa.string()),  # all, or which held-out songs or which listeners count
        ("value", pa.float64()),  # mean over listeners
        ("low", pa.float64()),  # lower end of the 95 % bootstrap interval over listeners; null for coverage
        ("high", pa.float64()),  # upper end of that interval
        ("p", pa.float64()),  # of a difference: the paired t-test over listeners
        ("p_holm", pa.float64()),  # the same, corrected by Holm for the number of pairs of methods
        ("n_users", pa.int64()),  # number of listeners whom the value is the mean over
    ]
)

# A row for each model, split, seed and tested song; the footer's lineage holds the classes and the number of folds.
EVALUATION = pa.schema(
    [
        ("model", pa.string()),  # name of the model and, if it reads spaces, theirs, such as logistic on musicnn
        ("split", pa.string()),  # random: no recording in both train and test; artist: no artist in both
        ("seed", pa.int32()),  # seed of the cross-validation
        ("fold", pa.int32()),  # the fold that the song was tested in
        ("track_id", pa.string()),  # the tested song
        ("genre", pa.string()),  # its true genre
        ("predicted", pa.string()),  # the genre that the model predicted
        ("probabilities", pa.list_(pa.float32())),  # one per genre, in the order of the classes
    ]
)

SCORES = pa.schema(
    [
        ("model", pa.string()),  # as in evaluation, or models joined by +
        ("split", pa.string()),  # random or artist
        ("metric", pa.string()),  # name of the figure
        ("genre", pa.string()),  # null: all genres
        ("value", pa.float64()),  # the figure; a song counts once, with its mean over seeds
        ("low", pa.float64()),  # lower end of the 95 % interval over artists; null if there is none
        ("high", pa.float64()),  # upper end of that interval
        ("n_songs", pa.int64()),  # number of tested songs
        ("n_seeds", pa.int32()),  # number of cross-validations
    ]
)

CURVES = pa.schema(
    [
        ("model", pa.string()),  # the network, as in evaluation
        ("split", pa.string()),  # random or artist
        ("seed", pa.int32()),  # seed of the cross-validation
        ("fold", pa.int32()),  # the fold held out
        ("epoch", pa.int32()),  # number of the epoch, from 1
        ("loss", pa.float32()),  # loss on the training songs, each by its weight
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
        ("accuracy", pa.float64()),  # accuracy on the songs that the fold holds out
        ("train_accuracy", pa.float64()),  # accuracy on the songs that it was trained on
    ]
)

# The next four are files in the model's folder, not tables of OUT.
HISTORY = pa.schema(
    [
        ("epoch", pa.int32()),  # number of the epoch, from 1
        ("loss", pa.float32()),  # loss on the training songs, each by its weight
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
        ("predicted", pa.string()),  # the genre that the model predicted
        ("probabilities", pa.list_(pa.float32())),  # one per genre, in the order of the classes in model.json
    ]
)
CLUSTERS = pa.schema(
    [
        ("track_id", pa.string()),  # the song
        ("cluster", pa.int32()),  # number of the cluster; -1 for noise
        ("point", pa.list_(pa.float32())),  # coordinates of the song in the space that was clustered
    ]
)
SWEEP = pa.schema(
    [
        ("algorithm", pa.string()),  # name of the clustering
        ("components", pa.int32()),  # number of principal components
        ("asked", pa.int32()),  # number of clusters requested; null if the algorithm finds the number
        ("clusters", pa.int32()),  # number of clusters found
        ("silhouette", pa.float32()),  # silhouette coefficient; null if it is not defined
        ("davies_bouldin", pa.float32()),  # Davies-Bouldin index; null if it is not defined
    ]
)


def features_schema(names: Iterable[str]) -> pa.Schema:
    """Return the schema of the ``features`` table: ``track_id`` and one float32 column per feature."""
    return pa.schema([("track_id", pa.string()), *((name, pa.float32()) for name in names)])


def tags_schema(tags: Iterable[str]) -> pa.Schema:
    """Return the schema of a table ``tags/NAME``: ``track_id``, and a float32 column for each tag, from 0 to 1."""
    return pa.schema([("track_id", pa.string()), *((tag, pa.float32()) for tag in tags)])


def segments_schema(names: Iterable[str]) -> pa.Schema:
    """Return the schema of the ``segments`` table: a row for each segment of a clip, with the columns of ``features``.

    ``start_s`` counts from the start of the clip.
    """
    key = [("track_id", pa.string()), ("segment", pa.int16()), ("start_s", pa.float32())]
    return pa.schema([*key, *((name, pa.float32()) for name in names)])
