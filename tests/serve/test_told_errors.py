"""What clients are told of an error names no path of the machine that serves them."""

import pytest

from musicrec.schemas import Reason
from musicrec.serve.service.told_errors import MEANINGS, told
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no song 'x' in {out}/_versions/similar/1", "no song 'x' in OUT/_versions/similar/1"),
        ("{out}/map is damaged;\n run: musicrec map {out}", "OUT/map is damaged; run: musicrec map OUT"),
        ("run: musicrec similar '{out}'", "run: musicrec similar 'OUT'"),
        ("no file '{source}/a b/c.mp3'", "no file 'SOURCE/a b/c.mp3'"),
        ("no song is called /etc/passwd", "no song is called /etc/passwd"),  # what was asked for
    ],
)  # fmt: skip
@pytest.mark.parametrize("places", [("out", "music"), ("music/out", "music"), ("out", "out/music")])
def test_paths_of_out_and_of_the_songs_are_named(tmp_path, message, said, places):
    out, source = (str(tmp_path / place) for place in places)
    store = Store(out)
    store.create()
    store.settings.record(CatalogSettings(source=source))
    assert told(ValueError(message.format(out=out, source=source)), store) == said.format(out=out, source=source)


@pytest.mark.parametrize("message", ["{folder}/out2 is another", "{folder}/music-old/x", "{folder} is above both"])
def test_other_paths_stay(tmp_path, message):
    store = Store(tmp_path / "out")
    store.create()
    store.settings.record(CatalogSettings(source=str(tmp_path / "music")))
    other = message.format(folder=tmp_path)
    assert told(ValueError(other), store) == other


def test_the_name_behind_a_link_is_a_path_too(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    store = Store(tmp_path / "out")
    store.create()
    assert told(ValueError(f"{tmp_path}/disk/similar is damaged"), store) == "OUT/similar is damaged"


@pytest.mark.parametrize("source", ["/", "", "."])
def test_a_source_that_is_everywhere_replaces_nothing(store, source):
    if source:
        store.settings.record(CatalogSettings(source=source))
    assert told(ValueError("a. b /x"), store) == "a. b /x"


def test_each_reason_has_words_for_it():
    assert set(MEANINGS) <= set(Reason)
    assert {"missing", "unreadable", "empty", "too_large", "unsupported"} <= set(MEANINGS)
