"""Commands for a blind listening test: make one, and score what its participants answered."""

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from musicrec.cli.common import example
from musicrec.cli.options import OUT, Command, Commands, Range
from musicrec.monitor.text_table import printable

if TYPE_CHECKING:
    from musicrec.serve.listening_test.site import Built

SONGS = 15  # as the critics of the second reference system asked for
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(
    "listening-test",
    cls=Commands,
    epilog=example(
        "listening-test build OUT --likes likes.csv --out TEST",
        "listening-test score answers --key TEST/key.json",
    ),
)
def listening_test() -> None:
    """Let people judge blindly what is recommended.

    `build` makes a site of clips for some participants; `score` says what may be concluded from their answers.
    """


@listening_test.command(
    cls=Command,
    epilog=example(
        "listening-test build OUT --likes likes.csv --out TEST",
        "listening-test build OUT --likes ada.txt --out TEST --songs 9 --recommended 3 --seed 7",
        "listening-test build OUT --likes likes.csv --out TEST --design methods",
    ),
)
@OUT
@click.option(
    "--likes",
    "likes_file",
    required=True,
    type=FILE,
    help="Who likes what: CSV with the columns participant and track_id, or the songs of one participant, one a line.",
)
@click.option(
    "--out",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="New folder for site/, key.json and links.csv.",
)
@click.option(
    "--design",
    type=click.Choice(["set", "methods"]),
    default="set",
    show_default=True,
    help="Compare recommended songs with songs of the catalog, half random and half of the same genres (set); or what "
    "`recommend --by embedding` finds by --method genre and by --method cosine (methods).",
)
@click.option("--songs", type=click.IntRange(2), help="Songs of each participant, with --design set.  [default: 15]")
@click.option(
    "--recommended",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="How many of them are recommended; with --design methods, by each method.",
)
@click.option("--repeats", type=click.IntRange(0), default=2, show_default=True, help="Songs that are heard twice.")
@click.option("--seconds", type=Range(1, 120), default=30, show_default=True, help="Length of a clip.")
@click.option("--seed", type=click.IntRange(0), help="Seed of all that is drawn; keep it secret.  [default: a new one]")
def build(
    out: str,
    *,
    likes_file: Path,
    folder: Path,
    design: str,
    songs: int | None,
    recommended: int,
    repeats: int,
    seconds: float,
    seed: int | None,
) -> None:
    """Make a blind listening test: a static site, and its key.

    Each participant gets a page of their own, which opens from a disk or from any web server and sends nothing. Clips
    are equally long and equally loud (EBU R128), in random order, without names. Nothing in the site says which clip is
    which: that is in DIR/key.json, which you keep. DIR/links.csv says which page is whose.
    """
    from musicrec.serve.listening_test.chosen_songs import Plan
    from musicrec.serve.listening_test.likes_file import read_likes
    from musicrec.serve.listening_test.site import build_test
    from musicrec.store.store import Store

    if design == "methods" and songs is not None:
        raise click.UsageError("--songs goes with --design set; with methods, --recommended is for each method.")
    n_set = (songs or SONGS) - recommended
    if design == "set" and n_set < 1:
        raise click.UsageError(f"--recommended {recommended} leaves no songs to compare with; give more --songs.")
    store = Store(out)
    store.require()
    seed = secrets.randbits(32) if seed is None else seed
    plan = Plan(design, recommended, n_set, repeats)
    click.echo(_built(build_test(store, read_likes(likes_file), folder.absolute(), plan, seed=seed, seconds=seconds)))


def _built(test: "Built") -> str:
    n, n_clips = len(test.key.clips), sum(map(len, test.key.clips.values()))
    lines = [
        f"{test.folder / 'site'}: {n} participant{'s' if n > 1 else ''}, {n_clips} clips, seed {test.key.seed}",
        f"{test.folder / 'links.csv'}: the page of each participant",
        f"{test.folder / 'key.json'}: which clip is which; no participant may see it",
        *(f"passed over {track_id}: {why}" for track_id, why in sorted(test.left_out.items())),
        *(
            f"quieter than the others, as it would clip: {t}, {lufs:.1f} LUFS"
            for t, lufs in sorted(test.quieter.items())
        ),
    ]
    return "\n".join(map(printable, lines))


@listening_test.command(
    cls=Command,
    epilog=example(
        "listening-test score answers --key TEST/key.json",
        "listening-test score answers --key TEST/key.json --json",
    ),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", "key_file", required=True, type=FILE, help="The key.json that build has written.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def score(files: tuple[Path, ...], key_file: Path, as_json: bool) -> None:
    """Score the answers of participants.

    A FILE is what a participant sent, or a folder of such files, as .json. Each answer that cannot be used is counted
    and named, with the reason.

    The score holds the share of liked songs of each condition; differences within participants, by the paired t-test,
    Wilcoxon's test and the sign-flip test; a mixed model with crossed effects of participants and songs; all of that
    without the songs that a participant knew; how alike repeated answers are; how many participants the next test
    needs; and one sentence of what may be concluded.
    """
    from musicrec.serve.listening_test.answer_files import files_of
    from musicrec.serve.listening_test.key_file import read_key
    from musicrec.serve.listening_test.score_text import score_text
    from musicrec.serve.listening_test.scored_answers import score_answers, score_as_json

    found = score_answers(files_of(files), read_key(key_file))
    click.echo(json.dumps(score_as_json(found), indent=2) if as_json else score_text(found))
