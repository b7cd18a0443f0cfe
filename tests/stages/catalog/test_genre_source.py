"""Where genres come from: folders only where they look like genres, and what was decided is said and stays."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from musicrec.errors import ConfigError
from musicrec.report import write_report
from musicrec.settings import CatalogSettings, resolve
from musicrec.stages.catalog.file_tags.fields import Tags
from musicrec.stages.catalog.genre_source import judge
from musicrec.stages.catalog.stage import catalog
from musicrec.store.store import Store


def song(path: Path, seed: int = 0, **tags: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sf.SoundFile(path, "w", 8_000, 1) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(0.1 * np.random.default_rng(seed).normal(size=800))


def artists_and_albums(source: Path, n_artists: int = 6, **tags: str) -> Path:
    """A tree Artist/Album/song; every second artist plays jazz, the others rock; the last song has no genre."""
    for a in range(n_artists):
        for s in range(3):
            own = {"artist": f"Artist {a}", "album": f"Album {s}", "genre": ["Jazz", "Rock"][a % 2], **tags}
            if (a, s) == (n_artists - 1, 2):
                own.pop("genre")
            song(source / f"Artist {a}" / f"Album {s}" / f"{s}.flac", 10 * a + s, **own)
    return source


def run(store: Store, source: Path, capsys: pytest.CaptureFixture[str], **settings: str) -> tuple[dict, str]:
    """Genres by song, and what was said of them, which is nothing if it was said before."""
    before = store.settings.recorded("catalog")
    catalog(store, resolve(CatalogSettings, {"source": str(source), **settings}, before))
    lines = capsys.readouterr().err.splitlines()
    line = next((line for line in lines if line.startswith("genre from")), "")
    return {row["track_id"]: row["genre"] for row in store.read("tracks", ["track_id", "genre"]).to_pylist()}, line


def test_artists_and_albums_are_no_genres(store, tmp_path, capsys):
    genres, line = run(store, artists_and_albums(tmp_path / "songs"), capsys)
    assert line == "genre from tags: 2 genres, 1 song without; folders look like artists"
    assert genres["Artist 0/Album 0/0.flac"] == "Jazz"
    assert genres["Artist 5/Album 2/2.flac"] is None
    assert "Genres come from the tags: folders look like artists" in write_report(store).read_text()


@pytest.mark.parametrize(
    ("asked", "found", "line"),
    [
        ("folder", {f"Artist {a}" for a in range(6)}, "genre from folders: 6 genres, 0 songs without"),
        ("tags", {"Jazz", "Rock", None}, "genre from tags: 2 genres, 1 song without"),
        ("none", {None}, "genre from nowhere: 0 genres, 18 songs without"),
        ("auto", {"Jazz", "Rock", None}, "genre from tags: 2 genres, 1 song without; folders look like artists"),
    ],
)
def test_what_is_asked_for_is_taken_on_an_out_of_before_too(*, store, tmp_path, capsys, asked, found, line):
    source = artists_and_albums(tmp_path / "songs")
    run(store, source, capsys, genre_from="tags" if asked == "folder" else "folder")
    genres, said = run(store, source, capsys, genre_from=asked)
    assert set(genres.values()) == found
    assert said.startswith(line)
    assert run(store, source, capsys) == (genres, "")  # it is remembered


def test_folders_of_genres_are_genres_as_before(store, tmp_path, capsys):
    for i, name in enumerate(("rock/a.flac", "rock/live/b.flac", "k-pop/c.flac", "d.flac")):
        song(tmp_path / "songs" / name, i, artist="rock" if i == 2 else "Ada")
    genres, line = run(store, tmp_path / "songs", capsys)
    assert genres == {"rock/a.flac": "rock", "rock/live/b.flac": "rock", "k-pop/c.flac": "k-pop", "d.flac": None}
    assert line == "genre from folders: 2 genres, 1 song without; folders look like genres"


def test_an_out_of_before_keeps_its_genres(store, tmp_path, capsys):
    source = artists_and_albums(tmp_path / "songs")
    store.settings.path.write_text(f'[catalog]\nsource = "{source}"\nkind = "auto"\n')
    genres, _ = run(store, source, capsys)
    assert genres["Artist 0/Album 0/0.flac"] == "Artist 0"


def test_what_was_decided_stays_until_the_catalog_has_grown(store, tmp_path, capsys):
    """One song more does not give all songs other genres overnight; twice as many are judged again."""
    source = artists_and_albums(tmp_path / "songs", 2)
    assert run(store, source, capsys)[1].startswith("genre from tags")
    for i in range(5):
        song(source / f"jazz/{i}.flac", 100 + i)
    genres, line = run(store, source, capsys)
    assert (genres["jazz/0.flac"], line) == (None, "")
    for i in range(40):
        song(source / f"rock/{i}.flac", 200 + i)
    assert run(store, source, capsys)[1].startswith("genre from folders")


def test_a_manifest_gives_genres_or_leaves_them_to_the_tags(store, tmp_path, capsys):
    song(tmp_path / "a.flac", 1, genre="Jazz")
    song(tmp_path / "b.flac", 2)
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,genre\na.flac,Blues\nb.flac,\n")
    genres, line = run(store, manifest, capsys)
    assert (genres, line) == (
        {"a.flac": "Blues", "b.flac": None},
        "genre from the manifest: 1 genre, 1 song without; the layout is manifest",
    )
    assert run(store, manifest, capsys, genre_from="tags")[0] == {"a.flac": "Jazz", "b.flac": None}
    manifest.write_text("path\na.flac\nb.flac\n")
    genres, line = run(store, manifest, capsys, genre_from="auto")
    assert genres == {"a.flac": "Jazz", "b.flac": None}
    assert line == "genre from tags: 1 genre, 1 song without; the manifest gives none"


def test_fma_gives_the_genres_of_its_table(store, tmp_path, capsys):
    song(tmp_path / "songs/000/000002.flac", 1, genre="Jazz")
    (tmp_path / "songs/tracks.csv").write_text(
        ",album,artist,artist,set,track,track\n,title,id,name,split,genre_top,title\ntrack_id,,,,,,\n"
        "2,A,1,AWOL,training,Hip-Hop,Food\n"
    )
    genres, line = run(store, tmp_path / "songs", capsys)
    assert (genres, line) == (
        {"000002": "Hip-Hop"},
        "genre from tracks.csv: 1 genre, 0 songs without; the layout is fma",
    )
    assert run(store, tmp_path / "songs", capsys, genre_from="tags")[0] == {"000002": "Jazz"}


def test_another_source_still_needs_force(store, tmp_path, capsys):
    run(store, artists_and_albums(tmp_path / "songs", 2), capsys)
    with pytest.raises(ConfigError, match="source"):
        run(store, artists_and_albums(tmp_path / "others", 2), capsys, genre_from="none")


# --- folders alone ------------------------------------------------------------------------------------------------


def places(text: str, **tags: str) -> list:
    """Songs in folders, such as a/b, of which each has three."""
    own = Tags([[(name.upper(), value) for name, value in tags.items()]]) if tags else Tags()
    return [(folders.split("/"), own) for folders in text.split() for _ in range(3)]


@pytest.mark.parametrize(
    ("songs", "source", "why"),
    [
        (places("jazz/Ada rock/Ben"), "folder", "look like genres"),
        (places("schlager marsch"), "folder", "nothing says"),
        (places("marsch/A marsch/B marsch/C tanz/D tanz/E tanz/F"), "folder", "nothing says"),
        (places("Ada/First Ben/Second Cem/Third"), "tags", "two deep"),
        (places("Ada", artist="Ada") + places("Ben", artist="Ben"), "tags", "look like artists"),
        (places("Ada", album_artist="Ada", artist="Dee") + places("Jazz"), "tags", "look like artists"),
        (places("1999_First", album="First") + places("Second", album="Second"), "tags", "look like albums"),
        (places("A/Ada B/Ben"), "tags", "look like initials"),
        (places("Music/Ada Music/Ben Music/Cem"), "tags", "one folder, Music"),
        (places("schlager", genre="Schlager") + places("marsch", genre="Marsch"), "folder", "look like genres"),
        ([([], Tags())], "tags", "no song lies in a folder"),
    ],
)
def test_folders_are_judged_by_names_tags_and_depth(songs, source, why):
    found = judge(songs)
    assert found[0] == source
    assert why in found[1]


def tree(*folders: str, file: str = "{}.wav", n: int = 3) -> list:
    """Paths of `n` songs in each folder; a|b/1|2 stands for all combinations."""
    found = []
    for pattern in folders:
        parts = [part.split("|") for part in pattern.split("/")]
        found += [[*names, file.format(i)] for names in itertools.product(*parts) for i in range(1, n + 1)]
    return found


@pytest.mark.parametrize(
    ("paths", "source", "why"),
    [
        (tree("Ada|Ben|Cem/1998 - First|2001 - Second|(2004) Third|1999_Fourth"), "tags", "artists, by the albums"),
        (tree("Ada|Ben|Cem/First (1998)|Second [2001]|Third (2004)"), "tags", "artists, by the albums"),
        (tree("Ada|Ben|Cem/First|Second|Third|Fourth/CD1|Disc 2"), "tags", "artists, by the albums"),
        (tree("Ada|Ben|Cem/First|Second|Third|Fourth", file="{:02d} - One"), "tags", "artists, by the albums"),
        (tree("Ada|Ben|Cem/First|Second|Third|Fourth", file="1-{:02d} One"), "tags", "artists, by the albums"),
        (tree("First|Second|Third|Fourth/CD 1|CD 2|cd3"), "tags", "look like albums"),
        (tree("Ada - First|Ben – Second|1998 - Third"), "tags", "look like albums"),
        (tree("schlager|marsch/Ada|Ben|Cem/1998 - First|2001 - Second"), "folder", "nothing says"),
        (tree("schlager|marsch/Ada - First (1998)|Ben - Second (2001)|Cem - Third"), "folder", "nothing says"),
        (tree("schlager|marsch/Ada|Ben|Cem/First|Second", file="{:02d} - One"), "folder", "nothing says"),
        (tree("schlager|marsch", file="{:02d} - One"), "folder", "nothing says"),
        (tree("schlager|marsch/Ada|Ben|Cem", file="{:05d}"), "folder", "nothing says"),
        (tree("Jazz|Rock/1998 - First|2001 - Second"), "folder", "look like genres"),
        (tree("Electronic - House|Rock - Indie"), "folder", "look like genres"),
        (tree("A-C|D–F|0-9/Ada|Ben|Cem"), "tags", "look like initials or years"),
        (tree("80s|1990s|2000er|#/Ada|Ben|Cem"), "tags", "look like initials or years"),
    ],
)
def test_folders_are_judged_by_the_albums_in_them(paths, source, why):
    found = judge([(path[:-1], Tags()) for path in paths], paths)
    assert found[0] == source
    assert why in found[1]


def test_all_folders_are_counted_and_not_those_of_a_sample():
    """Of so many genres, a sample sees one or two artists each."""
    paths = tree("|".join(f"genre {i}x" for i in range(99)) + "/Ada|Ben|Cem", n=1)
    assert judge([(path[:-1], Tags()) for path in paths[::3]], paths)[0] == "folder"
