"""Write a listening test: a static site, its key, and the links of its participants."""

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np

from musicrec.errors import ConfigError
from musicrec.files.scratch import scratch_folder
from musicrec.monitor.progress import Progress
from musicrec.serve.listening_test import answer_files
from musicrec.serve.listening_test.chosen_songs import Chooser, Chosen, Plan, with_repeats
from musicrec.serve.listening_test.clip_files import SUFFIX, WRITTEN_AT, ClipFiles
from musicrec.serve.listening_test.key_file import Key, KeyClip, key_as_json
from musicrec.store.store import Store

SITE, KEY, LINKS = "site", "key.json", "links.csv"
CODE_BYTES = 8


class Built(NamedTuple):
    """What was written.

    Attributes
    ----------
    folder : Path
        It holds the site, the key and the links.
    key : Key
        What each participant hears.
    left_out : mapping of str to str
        Songs without a clip that were passed over, and why.
    quieter : mapping of str to float
        Songs that are heard more quietly than the others, as their peaks would clip, and their loudness in LUFS.
    """

    folder: Path
    key: Key
    left_out: Mapping[str, str]
    quieter: Mapping[str, float]


def build_test(
    store: Store, likes: Mapping[str, Sequence[str]], folder: Path, plan: Plan, *, seed: int, seconds: float
) -> Built:
    """Write the listening test of some participants; the folder appears complete or not at all.

    Parameters
    ----------
    store : Store
        OUT.
    likes : mapping of str to sequence of str
        The songs that each participant likes.
    folder : Path
        New or empty.
    plan : Plan
        What each participant hears.
    seed : int
        Seed of all that is drawn; whoever knows it can find the key.
    seconds : float
        Length of the clips.

    Raises
    ------
    ConfigError
        The folder holds something, or there are too few songs for a participant.
    UnknownTrack
        A liked song is unknown.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} holds something already; choose an empty or new folder for --out")
    tracks = store.read("tracks", ["track_id", "uri"]).to_pydict()
    uris = dict(zip(tracks["track_id"], tracks["uri"], strict=True))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        scratch_folder() as clips,
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as unfinished,
    ):
        files = ClipFiles(clips, uris, seconds)
        try:
            names, chosen = _chosen(Chooser(store, plan, seed, files.make), likes, plan.n_repeats)
        except ConfigError as e:
            raise ConfigError(f"{e}{_and_why(files.left_out)}") from e
        key = Key(_name(seed, chosen), seed, plan.design, store.path("similar").name, names, chosen)
        _write(Path(unfinished) / "test", key, files, seconds)
        if folder.exists():
            folder.rmdir()
        shutil.move(Path(unfinished) / "test", folder)
    heard = {clip.track_id for clips in chosen.values() for clip in clips}
    quieter = {track_id: lufs for track_id, lufs in files.quieter.items() if track_id in heard}
    return Built(folder, key, files.left_out, quieter)


def _and_why(left_out: Mapping[str, str]) -> str:
    """Return what to add to a complaint of too few songs, if songs without a clip may be the cause."""
    for track_id, why in left_out.items():
        return f"; {len(left_out)} songs were passed over, such as {track_id}: {why}"
    return ""


def _chosen(
    chooser: Chooser, likes: Mapping[str, Sequence[str]], n_repeats: int
) -> tuple[dict[str, str], dict[str, list[KeyClip]]]:
    """Return names and clips of participants, by their codes."""
    names, clips = {}, {}
    with Progress("participants", len(likes)) as progress:
        for participant, songs in likes.items():
            rng = chooser.rng(participant, "names")
            code = _code(rng)
            order = with_repeats(chooser.choose(participant, songs), n_repeats, rng)
            names[code], clips[code] = participant, _named(order, rng)
            progress.advance()
    return names, clips


def _name(seed: int, clips: Mapping[str, list[KeyClip]]) -> str:
    """Return the name of a test: another one if anything is heard that was not."""
    return hashlib.blake2b(json.dumps([seed, clips]).encode(), digest_size=CODE_BYTES).hexdigest()


def _named(order: Sequence[tuple[Chosen, int | None]], rng: np.random.Generator) -> list[KeyClip]:
    """Return clips with names of their own, and repeats with the name of what they repeat."""
    codes = [_code(rng) for _ in order]
    return [
        KeyClip(code, song.track_id, song.conditions, None if repeated is None else codes[repeated])
        for code, (song, repeated) in zip(codes, order, strict=True)
    ]


def _code(rng: np.random.Generator) -> str:
    return rng.bytes(CODE_BYTES).hex()


def _write(folder: Path, key: Key, files: ClipFiles, seconds: float) -> None:
    site = folder / SITE
    (site / "clips").mkdir(parents=True)
    page = _Pages()
    (site / "index.html").write_text(page.entrance(), encoding="utf-8")
    for code, clips in key.clips.items():
        names = [clip.clip for clip in clips]
        (site / f"{code}.html").write_text(page.participant(key.test, code, names, seconds), encoding="utf-8")
        for clip in clips:
            files.copy(clip.track_id, site / "clips" / f"{clip.clip}{SUFFIX}")
    for file in site.glob("*.html"):
        os.utime(file, (WRITTEN_AT, WRITTEN_AT))
    (folder / KEY).write_bytes(key_as_json(key))
    (folder / LINKS).write_text(_links(key), encoding="utf-8")


def _links(key: Key) -> str:
    """Return CSV that says which page is whose."""
    text = io.StringIO()
    rows = [(name, f"{SITE}/{code}.html") for code, name in key.names.items()]
    csv.writer(text, lineterminator="\n").writerows([("participant", "page"), *rows])
    return text.getvalue()


class _Pages:
    """The pages of a site: no other file but the clips, no network, and nothing that a strict policy would refuse."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("musicrec.serve.listening_test", ""),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._style, self._script = (self._file(name) for name in ("player.css", "player.js"))

    def entrance(self) -> str:
        """Return the page of who has no link."""
        page = self._environment.get_template("entrance.html.jinja")
        return page.render(style=self._style, style_hash=_hash(self._style))

    def participant(self, test: str, code: str, clips: list[str], seconds: float) -> str:
        """Return the page of a participant."""
        about = {"format": answer_files.FORMAT, "version": answer_files.VERSION, "test": test, "participant": code}
        data = {"about": about, "clips": clips, "folder": "clips/", "suffix": SUFFIX}
        return self._environment.get_template("player.html.jinja").render(
            style=self._style,
            script=self._script,
            style_hash=_hash(self._style),
            script_hash=_hash(self._script),
            data=json.dumps(data),
            n_clips=len(clips),
            seconds=f"{seconds:g}",
        )

    def _file(self, name: str) -> str:
        loader = self._environment.loader
        assert loader is not None
        return loader.get_source(self._environment, name)[0]


def _hash(text: str) -> str:
    """Return what allows an inline style or script in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
