"""A catalog of named songs, and listens of them as services and players export them. All of it is made up."""

import json
import zipfile
from urllib.parse import quote

import pyarrow as pa

from musicrec.schemas import TRACKS
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store

NAMES = [
    ("Ada Lovelace", "Engine Song"),
    ("Béla & Cid", "Night Train"),
    ("The Dots", "Symphony No. 5"),
    ("Ada Lovelace", "Slow Morning"),
    ("Ezra", "夜の歌"),
    ("The Dots", "Symphony No. 6"),
    ("Fay", "Beautiful Weather"),
    ("Gus feat. Hal", "Wires"),
]
START = 1_543_566_813  # 2018-11-30T08:33:33Z


def mbid(i):
    return f"{i:08x}-0000-4000-8000-{i:012x}"


def isrc(i):
    return f"GBAYE{i:07d}"


def song_id(i):
    return f"song-{i:03d}"


def uri(i):
    return f"/music/{NAMES[i][0]}/{i:02d} {NAMES[i][1]}.mp3"


def tracks(n=None, duration_s=200.0):
    return pa.Table.from_pylist(
        [
            {"track_id": song_id(i), "uri": uri(i), "artist": artist, "title": title, "duration_s": duration_s,
             "recording_mbid": mbid(i), "isrc": isrc(i)}
            for i, (artist, title) in enumerate(NAMES[:n])
        ],
        TRACKS,
    )  # fmt: skip


def publish_tracks(out, table=None, name="0123456789abcdef"):
    """Make an OUT with a catalog, or publish another catalog in it."""
    store = Store(out)
    store.create()
    settings = CatalogSettings(source="/music")
    store.settings.record(settings)
    version = store.new_version("tracks", settings, name)
    version.write_part(tracks() if table is None else table)
    store.publish(version)
    return store


# --- what services and players write ------------------------------------------------------------------------------


def spotify(songs, **others):
    """Streams of a minute each, in the order of the songs; their time is that of their end."""
    return [
        {
            "ts": f"2018-11-30T08:{34 + 3 * i:02d}:33Z",
            "ms_played": 60_000,
            "master_metadata_track_name": NAMES[song][1],
            "master_metadata_album_artist_name": NAMES[song][0],
            "spotify_track_uri": f"spotify:track:{song:022d}",
            "episode_name": None,
            "spotify_episode_uri": None,
            "skipped": False,
            "incognito_mode": False,
        }
        | others
        for i, song in enumerate(songs)
    ]


def listenbrainz(songs, *, mapped=True, **more):
    return [
        {
            "listened_at": START + 180 * i,
            "inserted_at": START + 1_000_000,
            "track_metadata": {
                "artist_name": NAMES[song][0],
                "track_name": NAMES[song][1],
                "additional_info": dict(more),
                "mbid_mapping": {"recording_mbid": mbid(song), "recording_name": NAMES[song][1]} if mapped else None,
            },
        }
        for i, song in enumerate(songs)
    ]


def lastfm(songs, user="ada"):
    """A page of recent tracks, with the song that plays now on top."""
    rows = [
        {
            "artist": {"mbid": "", "#text": NAMES[song][0]},
            "mbid": "",
            "name": NAMES[song][1],
            "date": {"uts": str(START + 180 * i), "#text": "30 Nov 2018, 08:33"},
        }
        for i, song in enumerate(songs)
    ]
    now = {"artist": {"#text": "Ezra"}, "mbid": "", "name": "夜の歌", "@attr": {"nowplaying": "true"}}
    return {"recenttracks": {"track": [now, *rows], "@attr": {"user": user, "page": "1"}}}


def m3u8(songs, *, named=True):
    lines = ["#EXTM3U"]
    for song in songs:
        lines += [f"#EXTINF:200,{' - '.join(NAMES[song])}"] if named else []
        lines.append(f"/elsewhere/{song}.flac" if named else uri(song))
    return "\n".join(lines) + "\n"


def xspf(songs):
    inner = "".join(
        f"<track><location>file://{quote(uri(song))}</location><duration>200000</duration></track>" for song in songs
    )
    return f'<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>{inner}</trackList></playlist>'


def jspf(songs):
    rows = [
        {"identifier": [f"https://musicbrainz.org/recording/{mbid(song)}"], "title": "as the service calls it"}
        for song in songs
    ]
    return {"playlist": {"title": "likes", "identifier": "https://listenbrainz.org/playlist/x", "track": rows}}


def write_json(file, content):
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def write_zip(file, members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def write_export(file, listens, user="ada"):
    """A user's export of ListenBrainz, with the other files that stand in it."""
    lines = "".join(json.dumps(row) + "\n" for row in listens)
    feedback = json.dumps({"recording_mbid": mbid(7), "score": 1}) + "\n"
    about = {"user.json": json.dumps({"user_id": 1, "username": user})} if user else {}
    return write_zip(file, about | {"listens/2018/11.jsonl": lines, "feedback.jsonl": feedback})
