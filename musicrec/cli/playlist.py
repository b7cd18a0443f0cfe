"""The command that writes playlists."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musicrec.cli.common import example, label, song_called
from musicrec.cli.options import OUT, Command, Text
from musicrec.monitor.text_table import text_table

if TYPE_CHECKING:
    from musicrec.serve.playlist_songs import Listed, Playlists


@click.command(
    cls=Command,
    epilog=example(
        "playlist OUT --like blues.00002 --out blues.m3u8",
        "playlist OUT --like blues.00002 --like jazz.00005 --dislike pop.00001 -n 30 --out mine.xspf",
        "playlist OUT --path blues.00002 jazz.00005 --out bridge.m3u8",
        "playlist OUT --genre jazz --max-per-artist 2 --out jazz.jspf",
        "playlist OUT --tag 'female vocals' -n 20",
        "playlist OUT --user ada --out for-ada.m3u8",
    ),
)
@OUT
@click.option(
    "--like", "likes", multiple=True, help="Songs like this one: id, title, file name, path, or words of these."
)
@click.option("--dislike", "dislikes", multiple=True, help="And unlike this one; goes with --like.")
@click.option("--path", "ends", nargs=2, metavar="FIRST LAST", help="From one song to another in small steps.")
@click.option("--genre", type=Text(), help="The songs of a genre, the most typical first.")
@click.option(
    "--tag", type=Text(), help="The songs to which a pretrained model gives this tag with the highest scores."
)
@click.option("--user", type=Text(), help="What is recommended to this listener in OUT/recommendations.")
@click.option(
    "-n", "n", type=click.IntRange(1), default=50, show_default=True, help="Number of songs; for --path, the most."
)
@click.option(
    "--max-per-artist", type=click.IntRange(0), default=0, help="Most songs by an artist.  [default: any number]"
)
@click.option("--with-likes", is_flag=True, help="Put the liked songs first.")
@click.option(
    "--out",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .m3u8, .xspf or .jspf.  [default: none]",
)
@click.option("--name", type=Text(), help="Name of the playlist.  [default: name of the file]")
@click.option("--paths", is_flag=True, help="Show ids, which are mostly paths, instead of artists and titles.")
def playlist(out: str, file: Path | None, name: str | None, paths: bool, **how: Any) -> None:  # noqa: ANN401
    """Make a playlist that your player reads.

    Songs are compared as in the published table. No artist comes twice in a row where that can be. A playlist names
    songs by their paths as seen from its own folder; those of a bucket by their address.
    """
    from musicrec.files.paths import write_atomic
    from musicrec.serve.playlist_files import playlist_file
    from musicrec.serve.playlist_songs import Playlists

    _check(**how)
    playlists = Playlists(out)
    lines = _chosen(playlists, **how)
    if file:
        content = playlist_file(file, name or file.stem, playlists.entries([line.song for line in lines]))
        write_atomic(file.absolute(), content)
        click.echo(f"{file}: {len(lines)} songs")
        return
    rows = [(i, label(song, path=paths), song.genre, score) for i, (song, score) in enumerate(lines, start=1)]
    click.echo(text_table(("", "song", "genre", "score"), rows) if rows else "none: no other song is left")


def _check(
    *,
    likes: Sequence[str],
    dislikes: Sequence[str],
    ends: Sequence[str] | None,
    genre: str | None,
    tag: str | None,
    user: str | None,
    with_likes: bool,
    **_: Any,  # noqa: ANN401
) -> None:
    """Refuse options that do not go together."""
    asked = {"--like": likes, "--path": ends, "--genre": genre, "--tag": tag, "--user": user}
    given = [option for option, value in asked.items() if value]
    if len(given) != 1:
        got = f"; got {' and '.join(given)}" if given else ""
        raise click.UsageError(f"Expected one of {', '.join(asked)}{got}.")
    if not likes and (dislikes or with_likes):
        raise click.UsageError(f"{'--dislike' if dislikes else '--with-likes'} goes with --like.")


def _chosen(
    playlists: "Playlists",
    *,
    likes: Sequence[str],
    dislikes: Sequence[str],
    ends: Sequence[str] | None,
    genre: str | None,
    tag: str | None,
    user: str | None,
    n: int,
    max_per_artist: int,
    with_likes: bool,
) -> "list[Listed]":
    """Return the songs that the options ask for."""
    if ends:
        first, last = _ids(playlists, ends)
        return playlists.between(first, last, n)
    if genre:
        return playlists.of_genre(genre, n, max_per_artist=max_per_artist)
    if tag:
        return playlists.of_tag(tag, n, max_per_artist=max_per_artist)
    if user:
        return playlists.of_user(user, n)
    liked = _ids(playlists, likes)
    found = playlists.like(liked, _ids(playlists, dislikes), n, max_per_artist=max_per_artist)
    return [*playlists.as_given(liked), *found] if with_likes else found


def _ids(playlists: "Playlists", names: Sequence[str]) -> list[str]:
    return [song_called(name, playlists.song).track_id for name in names]
