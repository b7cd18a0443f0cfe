"""Commands that read the published table."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musicrec.cli.common import complain, example, label, song_called
from musicrec.cli.options import OUT, Command
from musicrec.errors import ConfigError, UnknownTrack
from musicrec.monitor.text_table import printable, text_table

if TYPE_CHECKING:
    from musicrec.serve.lookup import Similar, SimilarTable, Song

CSV_HEAD = ("track_id", "rank", "similar_track_id", "title", "artist", "genre", "score")


@click.command(
    cls=Command,
    epilog=example(
        'lookup OUT "blues.00002"',
        "lookup OUT ~/Music/rock/anthem.mp3 -n 5 --json",
        'lookup OUT "miles davis so what"',
        "lookup OUT --file ids.txt --csv",
        "lookup OUT blues.00002 --why",
        "lookup OUT blues.00002 --why-not jazz.00001",
        "lookup s3://bucket/similar blues.00002",
    ),
)
@OUT
@click.argument("tracks", metavar="[TRACK]...", nargs=-1)
@click.option("-n", "n", type=click.IntRange(1), default=10, show_default=True, help="Number of songs to show.")
@click.option("--file", "from_file", help="Also look up the songs in this file, one per line; - is standard input.")
@click.option(
    "--why", is_flag=True, help="Also show what each of several spaces contributes to the cosine, before any rule."
)
@click.option(
    "--why-not",
    metavar="OTHER",
    help="Show instead the rank of another song, and the rule, cap or score that kept it out of the list.",
)
@click.option("--paths", is_flag=True, help="Show ids, which are mostly paths, instead of artists and titles.")
@click.option("--json", "form", flag_value="json", help="Print a JSON object; for several songs, a list of objects.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, one line for each similar song.")
def lookup(
    out: str,
    tracks: tuple[str, ...],
    from_file: str | None,
    form: str | None,
    **what: Any,  # noqa: ANN401
) -> None:
    """Show the songs most similar to a song, or to several.

    TRACK is an id, a path, a file name, a title, or words of a song's artist and title that no other song has; with
    --file, --json and --csv only whole names count. OUT may also be a copy of the folder OUT/similar, on this machine
    or on S3. Songs that are not found are named at the end, with exit code 1.
    """
    from musicrec.serve.lookup import SimilarTable

    names = [*tracks, *(_lines(from_file) if from_file else [])]
    if not names:
        raise click.UsageError("Missing argument 'TRACK...', or option '--file'.")
    if what["why_not"] is not None:
        if len(names) > 1 or form == "csv":
            raise click.UsageError("--why-not takes one song, and no --csv.")
        _print_why_not(out, names[0], what["why_not"], as_json=form == "json")
        return
    unknown: list[str] = []
    is_typed = form is None and not from_file
    found = _look_up(SimilarTable(out), names, what["n"], unknown, why=what["why"], by_words=is_typed)
    if form is None:
        _print_text(found, paths=what["paths"])
    else:
        {"json": _print_json, "csv": _print_csv}[form](found, is_list=len(names) > 1 or bool(from_file))
    for complaint in unknown[:-1]:
        complain(complaint)
    if unknown:
        raise UnknownTrack(unknown[-1])


Shares = dict[str, list[float]]  # by the name of the space, of each song of a list
Found = Iterator[tuple["Song", list["Similar"], Shares]]


def _lines(file: str) -> list[str]:
    """Return the lines of a file that are not blank."""
    try:
        with click.open_file(file, encoding="utf-8") as f:
            return [line.rstrip("\r\n") for line in f if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"--file {file} cannot be read ({e}); expected text in UTF-8, one song per line") from e


def _look_up(
    table: "SimilarTable", names: list[str], n: int, unknown: list[str], *, why: bool, by_words: bool
) -> Found:
    """Yield each song with its list and shares; messages about songs that are not found go to `unknown`."""
    for name in (name.encode("utf-8", "replace").decode() for name in names):
        try:
            song = song_called(name, table.song) if by_words else table.song(name)
        except UnknownTrack as e:
            unknown.append(str(e))
        else:
            shares = table.shares(song.track_id, n) if why else {}
            if why and not shares:
                complain("songs were compared in one space, so --why has nothing to show")
            yield song, table.similar(song.track_id, n), {name: of.tolist() for name, of in shares.items()}


def _print_text(found: Found, *, paths: bool) -> None:
    for number, (song, similar_songs, shares) in enumerate(found):
        blank = "\n" if number else ""
        click.echo(blank + printable(f"Similar songs to {label(song, path=paths)} ({song.genre or 'no genre'}):"))
        more = list(zip(*shares.values(), strict=True)) or [()] * len(similar_songs)
        rows = [
            (s.rank, label(s.song, path=paths), s.song.genre, s.score, *of)
            for s, of in zip(similar_songs, more, strict=True)
        ]
        click.echo(text_table(("rank", "song", "genre", "score", *shares), rows))


def _print_json(found: Found, *, is_list: bool) -> None:
    objects = [
        {
            "song": song._asdict(),
            "similar": [
                {"rank": s.rank, **_as_similar(s.song), "score": s.score}
                | ({"shares": {name: of[i] for name, of in shares.items()}} if shares else {})
                for i, s in enumerate(similar_songs)
            ],
        }
        for song, similar_songs, shares in found
    ]
    if objects or is_list:
        click.echo(json.dumps(objects if is_list else objects[0], ensure_ascii=False, indent=2))


def _as_similar(song: "Song") -> dict[str, str | None]:
    """Return a song's columns, its id by the name that it has in the table."""
    return {"similar_track_id" if name == "track_id" else name: value for name, value in song._asdict().items()}


def _print_csv(found: Found, *, is_list: bool) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    for number, (song, similar_songs, shares) in enumerate(found):
        if number == 0:
            rows.writerow((*CSV_HEAD, *shares))
        more = list(zip(*shares.values(), strict=True)) or [()] * len(similar_songs)
        listed = zip(similar_songs, more, strict=True)
        rows.writerows((song.track_id, s.rank, *s.song, s.score, *of) for s, of in listed)


def _print_why_not(out: str, song: str, other: str, *, as_json: bool) -> None:
    from musicrec.serve.missing_song import why_not

    found = why_not(out, song, other)
    if as_json:
        click.echo(json.dumps(found._asdict(), ensure_ascii=False, indent=2))
        return
    parts = " + ".join(f"{name} {share:.3f}" for name, share in found.shares.items())
    similarity = f"{found.similarity:.3f}{f' = {parts}' if parts else ''}"
    click.echo(printable(f"{found.other} for {found.song}: {found.why}"))
    click.echo(printable(f"similarity {similarity}, rank {found.rank:,} of {found.n_others:,}"))
    if found.score != found.similarity:
        click.echo(f"score in the list {found.score:.3f}")


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
