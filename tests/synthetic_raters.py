"""Raters of a listening test who are made up: they answer by a model whose effect is known."""

import json

import numpy as np
import pandas as pd

from musicrec.serve.listening_test.answer_files import FORMAT, VERSION
from musicrec.serve.listening_test.key_file import Key, KeyClip, key_as_json

SD_PARTICIPANT, SD_SLOPE, SD_SONG, SD_NOISE = 10.0, 6.0, 10.0, 15.0
CONDITIONS = [("recommended",)] * 5 + [("set", "random")] * 5 + [("set", "matched")] * 5


def synthetic_answers(seed, *, effect=0.0, n_participants=12, n_songs=400, are_hubs=False):
    """Answers of synthetic raters to songs of one pool; they rate recommended songs `effect` points higher.

    If `are_hubs`, the same five songs are recommended to all.
    """
    rng = np.random.default_rng(seed)
    quality = rng.normal(0, SD_SONG, n_songs)
    rows = []
    for participant in range(n_participants):
        taste, own_effect = rng.normal(50, SD_PARTICIPANT), rng.normal(effect, SD_SLOPE)
        songs = rng.choice(n_songs - 5, len(CONDITIONS), replace=False) + 5
        if are_hubs:
            songs[:5] = range(5)
        for song, conditions in zip(songs, CONDITIONS, strict=True):
            rating = taste + own_effect * (conditions == ("recommended",)) + quality[song] + rng.normal(0, SD_NOISE)
            rating = float(np.clip(np.round(rating), 0, 100))
            rows.append((f"p{participant}", f"song {song}", conditions, rating > 50, rng.random() < 0.2, rating))
    names = ["participant", "track_id", "conditions", "like", "known", "rating"]
    return pd.DataFrame(rows, columns=names)


def synthetic_test(folder, answers, design="set"):
    """A key and a file for each participant; the first two clips of each are answered twice, alike."""
    names, clips = {}, {}
    for code, rows in answers.groupby("participant", sort=False):
        own = [KeyClip(f"{code}c{i}", row.track_id, row.conditions) for i, row in enumerate(rows.itertuples())]
        again = [clip._replace(clip=f"{clip.clip}r", repeat_of=clip.clip) for clip in own[:2]]
        names[code], clips[code] = f"name of {code}", [*own, *again]
        given = rows[["like", "known", "rating"]].to_dict("records")
        said = [{"clip": c.clip, **answer} for c, answer in zip(clips[code], [*given, *given[:2]], strict=True)]
        content = {"format": FORMAT, "version": VERSION, "test": "t1", "participant": code, "answers": said}
        (folder / f"{code}.json").write_text(json.dumps(content))
    (folder / "key.json").write_bytes(key_as_json(Key("t1", 7, design, "v1", names, clips)))
    return sorted(folder.glob("p*.json"))
