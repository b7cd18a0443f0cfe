"""The command line. The commands are in the modules beside this one; each imports heavy libraries only when it runs."""

import os
import sys

import click

from musicrec import __version__
from musicrec.cli import (
    doctor,
    listening,
    listening_test,
    models,
    nightly,
    personal,
    playlist,
    published,
    service,
    song_map,
    stages,
    tables,
    vector_spaces,
    version_diff,
)
from musicrec.cli.common import complain, example
from musicrec.cli.options import Commands
from musicrec.errors import INTERRUPTED, MusicrecError, exit_code_of


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its exit code.

    0 done, 1 failed, 2 wrong usage, 3 OUT is in use, 4 deadline passed, 5 the gate refused the new table, 6 songs
    failed because of a bug in musicrec, 7 part of the source could not be read.
    """
    try:
        code = cli.main(arguments, prog_name="musicrec", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        code = e.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; run the same command again to continue")
        code = INTERRUPTED
    except MusicrecError as e:
        complain(str(e))
        code = e.exit_code
    except Exception as e:  # users get one line; developers set MUSICREC_DEBUG to see more
        if os.environ.get("MUSICREC_DEBUG"):
            raise
        complain(f"{type(e).__name__}: {' '.join(str(e).split())} (set MUSICREC_DEBUG=1 for the traceback)")
        code = exit_code_of(e)
    sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=Commands, epilog=example("demo", "run OUT --source ~/Music", 'lookup OUT "blues.00002"'))
@click.version_option(__version__, prog_name="musicrec")
def cli() -> None:
    """Turn a folder of songs into a table of similar songs.

    OUT is a folder, or s3://bucket/prefix, of plain Parquet tables that any tool can read. The stages are catalog →
    extract → train → embed → similar → report. `run` runs them all and repeats only what is out of date.
    """


for _command in (
    stages.run,
    nightly.refresh,
    stages.catalog,
    stages.extract,
    models.models,
    stages.tune,
    stages.train,
    stages.evaluate,
    stages.embed,
    vector_spaces.vectors,
    stages.duplicates,
    stages.similar,
    song_map.song_map,
    tables.lookup,
    tables.export,
    personal.histories,
    listening.recommend,
    listening.listen,
    listening_test.listening_test,
    playlist.playlist,
    service.explore,
    service.serve,
    published.status,
    version_diff.diff,
    published.rollback,
    stages.report,
    stages.demo,
    doctor.doctor,
):
    cli.add_command(_command)
