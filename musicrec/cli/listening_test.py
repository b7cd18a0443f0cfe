"""Commands for a blind listening test: make one, and score what its participants answered."""

import json
from pathlib import Path

import click

from musicrec.cli.common import example
from musicrec.cli.options import Command, Commands

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(
    "listening-test",
    cls=Commands,
    epilog=example(
        "listening-test score answers/*.json --key TEST/key.json",
    ),
)
def listening_test() -> None:
    """Let people judge blindly what is recommended.

    `build` makes a site of clips for some participants; `score` says what may be concluded from their answers.
    """


@listening_test.command(
    cls=Command,
    epilog=example(
        "listening-test score answers/*.json --key TEST/key.json",
        "listening-test score answers/*.json --key TEST/key.json --json",
    ),
)
@click.argument("files", metavar="FILES...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", "key_file", required=True, type=FILE, help="The key.json that build has written.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def score(files: tuple[Path, ...], key_file: Path, as_json: bool) -> None:
    """Score the answers of participants.

    FILES are those that the participants sent. Each answer that cannot be used is counted and named, with the reason.

    The score holds the share of liked songs of each condition; differences within participants, by the paired t-test,
    Wilcoxon's test and the sign-flip test; a mixed model with crossed effects of participants and songs; all of that
    without the songs that a participant knew; how alike repeated answers are; how many participants the next test
    needs; and one sentence of what may be concluded.
    """
    from musicrec.serve.listening_test.key_file import read_key
    from musicrec.serve.listening_test.score_text import score_text
    from musicrec.serve.listening_test.scored_answers import score_answers, score_as_json

    found = score_answers(files, read_key(key_file))
    click.echo(json.dumps(score_as_json(found), ensure_ascii=False, indent=2) if as_json else score_text(found))
