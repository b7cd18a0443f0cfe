"""The input of models from OUT: features and vectors in memory, spectrograms and images on disk.

Parquet is read from front to back, but training reads songs in random order. So spectrograms and images are unpacked
once into a file of plain numbers that every worker maps. Memory holds only what is in use, however large the catalog.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec import features
from musicrec.errors import ConfigError, ModelError
from musicrec.files.node_cache import NODE_FOLDER, forget_old
from musicrec.files.paths import make_folder, remove
from musicrec.models import NETWORKS, TrainingSet, training_set
from musicrec.models.inputs import Chosen, Songs
from musicrec.schemas import Reason
from musicrec.settings import ExtractSettings, TrainSettings, resolve
from musicrec.stages import space_inputs
from musicrec.store import spaces
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

WORK = "unpacked"  # work folder of the files; the caller clears it
ROWS_AT_ONCE = 64
OPTIONS = {"mel96": "--mel96", "images": "--images"}  # options of extract that make an optional table


def table_of(settings: TrainSettings) -> str:
    """Return the name of the table that a model reads."""
    return NETWORKS[settings.model].READS if settings.model in NETWORKS else "features"


def tables_read(card_input: Mapping[str, Any]) -> list[str]:
    """Return the names of the tables that a model reads, by the input section of its card."""
    reads = str(card_input["reads"])
    return [spaces.table_of(name) for name in card_input["spaces"]] if reads == "spaces" else [reads]


def fingerprints(store: Store, settings: TrainSettings) -> list[str]:
    """Return the fingerprints of the tables that a model reads."""
    tables = [spaces.table_of(name) for name in settings.space] or [table_of(settings)]
    return [store.footer(table)["fingerprint"] for table in tables]


def load_training_set(store: Store, settings: TrainSettings, *, needs_genres: bool = True) -> TrainingSet:
    """Load the songs with genre, artist and the model's input; the result is the same on every machine.

    Parameters
    ----------
    store : Store
        OUT, with ``tracks`` and what the model reads; :func:`unpack` has unpacked spectrograms and images.
    settings : TrainSettings
        Which model, with its defaults filled in.
    needs_genres : bool
        As for :func:`musicrec.models.training_set`.

    Raises
    ------
    ConfigError, ModelError
        The table or the feature set is missing, or there are too few songs to train on.
    """
    table = require_table(store, settings)
    columns = ["track_id", "genre", "artist_ids", "recording"]
    songs = {row["track_id"]: row for row in read_tracks(store, columns).to_pylist()}
    X: Songs
    if settings.space:
        track_ids, X = space_inputs.read_vectors(store, space_inputs.input_of(store, settings), list(songs))
    else:
        track_ids, X = _features(store, settings, songs) if table == "features" else _packed(store, table, songs)
    rows = [songs[track_id] for track_id in track_ids]
    return training_set(
        track_ids,
        X,
        [song["genre"] for song in rows],
        [song["artist_ids"] for song in rows],
        [song["recording"] for song in rows],
        needs_genres=needs_genres,
    )


def require_table(store: Store, settings: TrainSettings) -> str:
    """Return the name of the table that a model reads, after checking that OUT has it.

    Raises
    ------
    ConfigError
        OUT does not have the table or the feature set.
    """
    table = table_of(settings)
    if table in OPTIONS and not store.exists(table):
        raise ConfigError(
            f"{store.out} has no {table}, which model {settings.model} reads; "
            f"run musicrec extract {store.out} {OPTIONS[table]} (with --force if songs were extracted without it)"
        )
    if settings.space:
        spaces.require_spaces(store, settings.space)
    if table == "features" and (not settings.space or table in settings.space):
        have = resolve(ExtractSettings, store.footer("features")["settings"]).feature_sets
        if settings.feature_set not in have:
            raise ConfigError(
                f"{store.out} has the feature sets {', '.join(have)}; "
                f"model {settings.model} reads {settings.feature_set}"
            )
    return table


def input_of(store: Store, settings: TrainSettings) -> dict[str, Any]:
    """Return the input section of a model's card, without learned values: table, shape, excerpts.

    Parameters
    ----------
    store : Store
        OUT, with the table.
    settings : TrainSettings
        Settings with the model's defaults filled in.
    """
    table = table_of(settings)
    if settings.space:
        return space_inputs.input_of(store, settings)
    if table == "features":
        names = features.feature_names(settings.feature_set)
        made = {"sample_rate": store.footer(table)["settings"]["sample_rate"]}
        return {"reads": table, "shape": [len(names)], "feature_names": names, "made_by": made}
    if table == "images":
        from musicrec.features.images import SIZE

        return {"reads": table, "shape": [SIZE, SIZE, 3]}
    made = _made(store, table)
    frames = 1 + int((settings.window_s or 0) * made["sample_rate"]) // made["hop_length"]
    windows = NETWORKS[settings.model].WINDOWS
    return {"reads": table, "shape": [frames, made["n_mels"]], "windows": windows, "made_by": made}


def _made(store: Store, table: str) -> dict[str, Any]:
    """Return sample rate, hop length and number of bands of a table of spectrograms."""
    footer = store.footer(table)
    made = footer["settings"] | footer["lineage"]
    return {name: made[name] for name in ("sample_rate", "hop_length", "n_mels")}


def require_same_input(store: Store, card: dict[str, Any]) -> None:
    """Check that a model's table was made in the same way as the one that the model was trained on.

    Raises
    ------
    ModelError
        It was not; the message says what differs.
    """
    if card["input"]["reads"] == "spaces":
        space_inputs.require_same_spaces(store, card)
        return
    trained = card["input"].get("made_by", {})
    footer = store.footer(card["input"]["reads"])
    made = footer["settings"] | footer["lineage"]
    differences = [f"{name} {trained[name]}, now {made[name]}" for name in trained if trained[name] != made[name]]
    if differences:
        raise ModelError(
            f"model {card['model']} was trained on a different {card['input']['reads']} table than {store.out} has: "
            f"{'; '.join(differences)}; train it again"
        )


def lacking(store: Store, card_input: dict[str, Any]) -> dict[str, tuple[Reason, str]]:
    """Return why songs of the catalog cannot be read by a model: reason and detail by track id."""
    if card_input["reads"] == "spaces":
        return space_inputs.lacking(store, card_input)
    have = set(store.read(card_input["reads"], ["track_id"])["track_id"].to_pylist())
    why = Reason.NO_FEATURES, "extract did not come through"
    return {track_id: why for track_id in store.track_ids() if track_id not in have}


def read_songs(rows: pa.Table, card_input: dict[str, Any]) -> Songs:
    """Return the model's input for some rows of its table."""
    if card_input["reads"] == "features":
        return rows.select(card_input["feature_names"]).to_pandas().to_numpy("float32")
    return list(_decoded(rows, card_input["reads"]))


def columns_of(card_input: dict[str, Any]) -> list[str]:
    """Return the columns that :func:`read_songs` needs."""
    columns = {"features": card_input.get("feature_names", []), "images": ["spectrogram"]}
    return ["track_id", *columns.get(card_input["reads"], ["mel", "n_frames"])]


def _decoded(rows: pa.Table, table: str) -> Iterator[NDArray[Any]]:
    """Yield the spectrograms [n_frames, n_mels] or images in rows of their table."""
    if table == "images":
        from musicrec.features.images import from_png

        yield from (from_png(png) for png in rows["spectrogram"].to_pylist())
        return
    frames = rows["n_frames"].to_pylist()
    for n, mel in zip(frames, rows["mel"], strict=True):
        values = mel.values.to_numpy(zero_copy_only=False)
        yield np.ascontiguousarray(values.reshape(-1, n).T)


def _features(store: Store, settings: TrainSettings, songs: dict[str, Any]) -> tuple[list[str], Songs]:
    names = features.feature_names(settings.feature_set)
    table = store.read("features", ["track_id", *names], pc.field("track_id").isin(list(songs))).sort_by("track_id")
    return table["track_id"].to_pylist(), table.select(names).to_pandas().to_numpy("float32")


# --- unpacked tables ----------------------------------------------------------------------------------------------


class Packed(Sequence[NDArray[Any]]):
    """Songs of an unpacked table. The file is mapped on first use, and a song is read when it is used.

    Parameters
    ----------
    folder : pathlib.Path
        Folder that :func:`unpack` has written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        starts: NDArray[np.int64] = np.load(self._folder / "starts.npy")
        return starts

    @cached_property
    def _rows(self) -> NDArray[Any]:
        about = json.loads((self._folder / "about.json").read_text(encoding="utf-8"))
        return np.memmap(self._folder / "rows.bin", about["dtype"], "r").reshape(-1, *about["tail"])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, i: Any) -> Any:  # noqa: ANN401 - as Sequence
        return self._rows[self._starts[i] : self._starts[i + 1]]


def _packed(store: Store, table: str, songs: dict[str, Any]) -> tuple[list[str], Songs]:
    if not isinstance(store.out, Path):
        unpack(store, table)
    track_ids = store.read(table, ["track_id"])["track_id"].to_pylist()
    order = sorted((track_id, i) for i, track_id in enumerate(track_ids) if track_id in songs)
    rows = np.array([i for _, i in order], np.intp)
    return [track_id for track_id, _ in order], Chosen(Packed(_folder(store, table)), rows)


def _folder(store: Store, table: str) -> Path:
    """Return where a table is unpacked: in OUT, or if OUT is in a bucket, on the disk of each node that reads it."""
    root = store.out / "_work" if isinstance(store.out, Path) else NODE_FOLDER
    return root / WORK / f"{table}-{store.footer(table)['fingerprint']}"


def clear_unpacked(store: Store) -> None:
    """Remove what :func:`unpack` has written. If OUT is in a bucket, only this node is cleared; others follow later."""
    store.work.clear(WORK)
    for table in OPTIONS if not isinstance(store.out, Path) else ():
        if store.exists(table):
            remove(_folder(store, table))


def unpack(store: Store, table: str) -> None:
    """Write a table of spectrograms or images as plain numbers, atomically. If the files exist, do nothing."""
    folder = _folder(store, table)
    if folder.exists():
        return
    make_folder(folder.parent)
    if not isinstance(store.out, Path):
        forget_old(folder.parent)
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
    starts: list[int] = [0]
    about: dict[str, Any] = {"dtype": "float16", "tail": [1]}
    with (making / "rows.bin").open("wb") as file:
        for batch in store.dataset(table).to_batches(columns=columns_of({"reads": table}), batch_size=ROWS_AT_ONCE):
            for song in _decoded(pa.Table.from_batches([batch]), table):
                about = {"dtype": str(song.dtype), "tail": list(song.shape[1:])}
                starts.append(starts[-1] + len(song))
                file.write(song.tobytes())
    np.save(making / "starts.npy", np.array(starts, np.int64))
    (making / "about.json").write_text(json.dumps(about), encoding="utf-8")
    try:
        making.rename(folder)
    except OSError:
        remove(making)
        if not folder.exists():  # if it exists, another task was faster
            raise
