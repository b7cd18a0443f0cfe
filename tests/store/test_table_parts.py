"""Nights of a table: it holds the wanted rows, what did not change is not written again, and its parts stay few."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.errors import SchemaError
from musicrec.files.parquet import read_parquet
from musicrec.schemas import OK
from musicrec.settings import ExtractSettings
from musicrec.store import table_parts
from musicrec.store.lineage import made_by, to_metadata
from musicrec.store.staging import read_staged, stage_shard
from musicrec.store.table_parts import ROWS_FILE, slices, tracks_per_part, write_version
from musicrec.store.table_spec import LARGE_BYTES, Table

SETTINGS = ExtractSettings()
MOST = 8  # tracks in a part of a large table, here
VALUES = ("values", pa.list_(pa.float32()))


def table_of(*columns, track_bytes, is_apart=False):
    schema = pa.schema([("track_id", pa.string()), *columns], to_metadata(made_by(SETTINGS)))
    return Table("mel", schema, track_bytes, is_apart=is_apart)


LARGE, SMALL = (table_of(VALUES, track_bytes=size) for size in (LARGE_BYTES, LARGE_BYTES - 1))
SEGMENTS = table_of(("segment", pa.int32()), VALUES, track_bytes=LARGE_BYTES, is_apart=True)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(table_parts, "TRACKS_PER_PART", MOST)


def rows_of_song(table, song, generation):
    """What a song has in a table: by its number and generation, so that any mix-up shows."""
    values = np.array([song, generation], np.float32)
    if table is SEGMENTS:
        return [{"segment": i, "values": values + i} for i in range(song % 3)]
    return [{"values": values}]


def publish(store, table, new, wanted):
    """Stage what is `new`, in shards of four songs, and publish the `wanted`: each a generation by song."""
    for number, shard in enumerate(slices(sorted(new), 4)):
        rows = []
        for song in shard:
            own = rows_of_song(table, song, new[song])
            row = {"track_id": f"{song:03d}", "status": OK, "fingerprint": f"g{new[song]}", "stage": "extract"}
            rows.append(row | ({table.name: own} if table.is_apart else own[0]))
        stage_shard(store.work, "extract", str(number), [table], rows)
    version = store.new_version(table.name, SETTINGS, f"{len(store.versions(table.name).on_disk()):08d}")
    columns = {
        "track_id": [f"{s:03d}" for s in sorted(wanted)],
        "fingerprint": [f"g{wanted[s]}" for s in sorted(wanted)],
    }
    write_version(store, version, table, pa.table(columns), read_staged(store.work, "extract"))
    store.publish(version)
    store.work.clear("extract")


def nights(store, table, n_nights, seed=0):
    """Publish a table night by night; yield what it should hold, and which songs stayed as they were."""
    rng, wanted = np.random.default_rng(seed), dict.fromkeys(range(40), 0)
    publish(store, table, wanted, wanted)
    yield wanted, set()
    for night in range(1, n_nights):
        kept = {song: g for song, g in wanted.items() if rng.random() > 0.03}
        changed = {song for song in kept if rng.random() < 0.03}
        new = dict.fromkeys([*changed, *rng.integers(0, 200, 2).tolist()], night)
        wanted = kept | new
        publish(store, table, new, wanted)
        yield wanted, kept.keys() - new.keys()


def parts_of(store, table):
    return sorted((store.out / table.name).iterdir())


@pytest.mark.parametrize("table", [LARGE, SMALL, SEGMENTS], ids=["large", "small", "segments"])
def test_a_table_holds_the_wanted_rows_once_each_night_after_night(store, table):
    for wanted, _ in nights(store, table, 12):
        parts = [pq.read_table(part) for part in parts_of(store, table)]
        assert all(part.schema.equals(table.schema) for part in parts)
        found = [
            (row["track_id"], row.get("segment", 0), row["values"])
            for row in pa.concat_tables(parts).sort_by([(name, "ascending") for name in table.key]).to_pylist()
        ]
        assert found == [
            (f"{song:03d}", row.get("segment", 0), row["values"].tolist())
            for song in sorted(wanted)
            for row in rows_of_song(table, song, wanted[song])
        ]
        in_parts = [[row[name] for name in table.key] for part in parts for row in part.select(table.key).to_pylist()]
        if not table.is_large:
            assert in_parts == sorted(in_parts)
        for part in parts:
            keys = [[row[name] for name in table.key] for row in part.select(table.key).to_pylist()]
            assert keys == sorted(keys)
            assert len({key[0] for key in keys}) <= tracks_per_part(store, table)


def test_the_list_of_rows_names_the_part_of_each_song(store):
    for wanted, _ in nights(store, LARGE, 5):
        listed = read_parquet((store.out / "mel").resolve().parent / ROWS_FILE).to_pylist()
        assert [(row["track_id"], row["fingerprint"]) for row in listed] == [
            (f"{song:03d}", f"g{wanted[song]}") for song in sorted(wanted)
        ]
        where = {
            song: part.name
            for part in parts_of(store, LARGE)
            for song in pq.read_table(part, columns=["track_id"])["track_id"].to_pylist()
        }
        assert {row["track_id"]: row["part"] for row in listed} == where


def test_a_file_none_of_whose_songs_changed_is_linked_not_written_again(store):
    """A merge of many small files may write again a part, or a sixteenth of the table."""
    held = []
    for _, same in nights(store, LARGE, 12):
        files = {part.stat().st_ino: pq.read_table(part)["track_id"].to_pylist() for part in parts_of(store, LARGE)}
        held.append((files, {f"{song:03d}" for song in same}))
    for (before, _), (after, same) in pairwise(held):
        untouched = {inode: songs for inode, songs in before.items() if same.issuperset(songs)}
        written = [songs for inode, songs in untouched.items() if inode not in after]
        assert sum(map(len, written)) <= MOST
        assert all(after[inode] == songs for inode, songs in untouched.items() if inode in after)


@pytest.mark.parametrize(
    ("held", "wanted", "stays"),
    [
        (8, 8, True),
        (1, 1, True),  # whole, however small
        (8, 4, True),  # half a part
        (8, 3, False),
        (20, 20, True),  # whole, however large: made when parts were larger
        (20, 8, True),
        (20, 9, False),  # to be written again anyway, so in parts of today's size
    ],
)
def test_a_file_stays_if_it_is_whole_or_half_full(tmp_path, held, wanted, stays):
    file, rows = tmp_path / "file", [(f"{song:02d}", "g") for song in range(wanted)]
    assert table_parts._staying(rows, dict.fromkeys(rows, file), Counter({file: held}), MOST) == (
        {file: rows} if stays else {}
    )


@pytest.mark.parametrize("many", [False, True])
def test_the_smallest_of_too_many_small_files_are_merged_up_to_a_part(tmp_path, monkeypatch, many):
    sizes = [3, 1, 2, 2, 3, 8, 4]  # less than half full are five of them
    monkeypatch.setattr(table_parts, "SMALL_PARTS", 4 if many else 5)
    files = [tmp_path / str(i) for i in range(len(sizes))]
    rows = {
        file: [(f"{i}{j}", "g") for j in range(size)] for i, (file, size) in enumerate(zip(files, sizes, strict=True))
    }
    where = {row: file for file, own in rows.items() for row in own}
    staying = table_parts._staying(sorted(where), where, Counter(where.values()), MOST)
    merged = [files[i] for i in (1, 2, 3, 0)] if many else []  # 1 + 2 + 2 + 3 songs make a part
    assert staying == {file: own for file, own in rows.items() if file not in merged}


def test_of_a_large_table_up_to_a_sixteenth_is_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(table_parts, "SMALL_PARTS", 0)
    rows = [(f"{i:03d}", "g") for i in range(16 * 12)]
    where = {row: tmp_path / str(i) for i, row in enumerate(rows)}  # a song a file
    assert len(rows) - len(table_parts._staying(rows, where, Counter(where.values()), MOST)) == 12


@pytest.mark.parametrize(("n", "lengths"), [(0, []), (1, [1]), (8, [8]), (9, [4, 5]), (20, [6, 7, 7])])
def test_rows_that_are_written_again_are_shared_evenly(n, lengths):
    rows = [(f"{i:02d}", "g") for i in range(n)]
    parts = table_parts._evenly(rows, MOST)
    assert [len(part) for part in parts] == lengths
    assert [row for part in parts for row in part] == rows


def test_a_part_that_holds_other_rows_than_it_was_published_with_is_said_to_lack_songs(store):
    wanted = dict.fromkeys(range(8), 0)
    publish(store, LARGE, wanted, wanted)
    part, _ = parts_of(store, LARGE)  # of four songs each
    pq.write_table(pq.read_table(part)[:3], part)
    for new in ({}, {0: 1}):  # to be linked, and to be written again
        with pytest.raises(SchemaError, match="mel lacks songs that outcomes lists; run extract in another OUT"):
            publish(store, LARGE, new, wanted | new)
    with pytest.raises(SchemaError, match="mel lacks songs that outcomes lists"):
        publish(store, LARGE, {}, wanted | {99: 0})
