"""Commands that read the published table."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from musicrec.cli.common import complain, example
from musicrec.cli.options import OUT, Command
from musicrec.errors import ConfigError, UnknownTrack
from musicrec.monitor.text_table import printable, text_table

if TYPE_CHECKING:
    from musicrec.serve.lookup import Similar, SimilarTable, Song

CSV_HEAD = ("song", "rank", "track_id", "title", "artist", "genre", "score")


@click.command(
    cls=Command,
    epilog=example(
        'lookup OUT "blues.00002"',
        "lookup OUT rock/anthem.mp3 -n 5 --json",
        "lookup OUT --file ids.txt --csv",
        "lookup s3://bucket/similar blues.00002",
    ),
)
@OUT
@click.argument("tracks", metavar="[TRACK]...", nargs=-1)
@click.option("-n", "n", type=click.IntRange(1), default=10, show_default=True, help="Number of songs to show.")
@click.option("--file", "from_file", help="Also look up the songs in this file, one per line; - is standard input.")
@click.option("--json", "form", flag_value="json", help="Print a JSON object; for several songs, a list of objects.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, one line for each similar song.")
def lookup(out: str, tracks: tuple[str, ...], n: int, from_file: str | None, form: str | None) -> None:
    """Show the songs most similar to a song, or to several.

    TRACK is an id, a file name or a title. OUT may also be a copy of the folder OUT/similar, on this machine or on S3.
    Songs that are not found are named at the end, with exit code 1.
    """
    from musicrec.serve.lookup import SimilarTable

    names = [*tracks, *(_lines(from_file) if from_file else [])]
    if not names:
        raise click.UsageError("Missing argument 'TRACK...', or option '--file'.")
    unknown: list[str] = []
    found = _look_up(SimilarTable(out), names, n, unknown)
    {"json": _print_json, "csv": _print_csv, None: _print_text}[form](found, is_list=len(names) > 1 or bool(from_file))
    for complaint in unknown[:-1]:
        complain(complaint)
    if unknown:
        raise UnknownTrack(unknown[-1])


Found = Iterator[tuple["Song", list["Similar"]]]


def _lines(file: str) -> list[str]:
    """Return the lines of a file that are not blank."""
    try:
        with click.open_file(file, encoding="utf-8") as f:
            return [line.rstrip("\r\n") for line in f if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"--file {file} cannot be read ({e}); expected text in UTF-8, one song per line") from e


def _look_up(table: "SimilarTable", names: list[str], n: int, unknown: list[str]) -> Found:
    """Yield each song with its list; messages about songs that are not found go to `unknown`."""
    for name in names:
        try:
            song = table.song(name.encode("utf-8", "replace").decode())
        except UnknownTrack as e:
            unknown.append(str(e))
        else:
            yield song, table.similar(song.track_id, n)


def _print_text(found: Found, *, is_list: bool) -> None:
    for number, (song, similar_songs) in enumerate(found):
        blank = "\n" if number else ""
        click.echo(blank + printable(f"Similar songs to {song.track_id} ({song.genre or 'no genre'}):"))
        rows = [(s.rank, s.song.track_id, s.song.genre, s.score) for s in similar_songs]
        click.echo(text_table(("rank", "song", "genre", "score"), rows))


def _print_json(found: Found, *, is_list: bool) -> None:
    objects = [
        {
            "song": song._asdict(),
            "similar": [{"rank": s.rank, **s.song._asdict(), "score": s.score} for s in similar_songs],
        }
        for song, similar_songs in found
    ]
    if objects or is_list:
        click.echo(json.dumps(objects if is_list else objects[0], ensure_ascii=False, indent=2))


def _print_csv(found: Found, *, is_list: bool) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    for number, (song, similar_songs) in enumerate(found):
        if number == 0:
            rows.writerow(CSV_HEAD)
        rows.writerows((song.track_id, s.rank, *s.song, s.score) for s in similar_songs)


@click.command(cls=Command, epilog=example("export OUT similar.csv", "export OUT similar.sqlite -n 50"))
@OUT
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-n", "n", type=click.IntRange(1), default=10, show_default=True, help="Number of similar songs for each song."
)
def export(out: str, file: Path, n: int) -> None:
    """Write the table of similar songs to one file.

    The ending of FILE gives the format: .csv, .json or .sqlite. An existing file is replaced when the new one is
    complete.
    """
    from musicrec.serve.export import export as write
    from musicrec.serve.lookup import SimilarTable

    table = SimilarTable(out)
    write(table, file, n)
    click.echo(f"{file}: the {n} songs most similar to each of {len(table)}")
