"""Commands that read what is published."""

import json

import click

from musicrec.cli.common import example
from musicrec.options import OUT, Command


@click.command(cls=Command, epilog=example('lookup OUT "blues.00002"', "lookup OUT rock/anthem.mp3 -n 5 --json"))
@OUT
@click.argument("track")
@click.option("-n", "n", type=click.IntRange(1), default=10, show_default=True, help="How many songs to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lookup(out: str, track: str, n: int, as_json: bool) -> None:
    """Show the songs most similar to a song.

    TRACK is an id, a file name or a title.
    """
    from musicrec.lookup import SimilarTable

    table = SimilarTable(out)
    song = table.song(track.encode("utf-8", "replace").decode())
    similar_songs = table.similar(song.track_id, n)
    if as_json:
        rows = [{"rank": s.rank, **s.song._asdict(), "score": s.score} for s in similar_songs]
        click.echo(json.dumps({"song": song._asdict(), "similar": rows}, ensure_ascii=False, indent=2))
        return
    click.echo(f"Similar songs to {song.track_id} ({song.genre or 'no genre'}):")
    width = max([len("song"), *(len(s.song.track_id) for s in similar_songs)])
    genre_width = max([len("genre"), *(len(s.song.genre or "") for s in similar_songs)])
    click.echo(f"rank  {'song':{width}}  {'genre':{genre_width}}   score")
    for s in similar_songs:
        click.echo(f"{s.rank:4}  {s.song.track_id:{width}}  {s.song.genre or '':{genre_width}}  {s.score:6.3f}")
