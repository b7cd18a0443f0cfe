"""The work of unfinished runs: shards that wait to be published."""

from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from musicrec.files.parquet import open_dataset, write_parquet
from musicrec.files.paths import AnyPath, children, make_folder, path_string, remove
from musicrec.schemas import OK, OUTCOMES
from musicrec.store.table_spec import Place, Table, rows_of, rows_per_group, writing


class WorkFolders:
    """The work of unfinished runs: ``OUT/_work``, with a folder for each stage that outlives the run.

    Parameters
    ----------
    root : pathlib.Path or upath.UPath
        ``OUT/_work``; it need not exist.
    """

    def __init__(self, root: AnyPath) -> None:
        self.root = root

    def folder(self, stage: str) -> AnyPath:
        """Return the folder of a stage, made if it does not exist."""
        return make_folder(self.root / stage)

    def staged(self, stage: str) -> list[AnyPath]:
        """Return the shards that tasks of an unfinished run of `stage` have completed."""
        return children(self.root / stage, "*.parquet")

    def stage(self, stage: str, name: str, table: pa.Table) -> None:
        """Write one shard of `stage`, whole or not at all; writing it again changes nothing."""
        write_parquet(self.folder(stage) / f"{name}.parquet", table)

    def clear(self, stage: str) -> None:
        """Remove the folder of `stage`, once what it held is published."""
        remove(self.root / stage)


class Staged(NamedTuple):
    """The work of an unfinished run: the outcome of each row, and the file of outcomes that holds it."""

    outcomes: pa.Table
    files: list[AnyPath]

    def places(self, table: Table) -> list[Place]:
        """Return where the rows of a table are staged."""
        beside = {file: _beside(file, table) for file in set(self.files)}
        done = zip(rows_of(self.outcomes), self.outcomes["status"].to_pylist(), self.files, strict=True)
        return [(row, beside[file]) for row, status, file in done if status == OK]


def stage_shard(
    work: WorkFolders, stage: str, name: str, tables: list[Table], rows: Iterable[dict[str, Any]]
) -> pa.Table:
    """Write one shard into the work folder as its rows come: a file for each table, then the outcomes.

    A shard without outcomes, because its task was killed, does not count. Writing a shard again changes nothing.

    Returns
    -------
    pyarrow.Table
        The outcomes.
    """
    shard = work.folder(stage) / f"{name}.parquet"
    outcomes = [OUTCOMES.empty_table()]
    narrow: dict[str, list[pa.Table]] = {table.name: [] for table in tables if not table.is_large}
    with ExitStack() as files:
        writers: dict[str, pq.ParquetWriter] = {}

        def write(table: Table, content: pa.Table) -> None:
            if table.name not in writers:
                make_folder(_beside(shard, table).parent)
                writers[table.name] = files.enter_context(writing(_beside(shard, table), table))
            writers[table.name].write_table(content)

        rows, tracks_a_group = iter(rows), rows_per_group(*tables)
        while group := list(islice(rows, tracks_a_group)):
            outcomes.append(pa.Table.from_pylist(group, schema=OUTCOMES))
            done = [row for row in group if row["status"] == OK]
            for table in tables if done else []:
                if table.is_large:
                    write(table, table.of(done))
                else:
                    narrow[table.name].append(table.of(done))
        for table in tables:
            if pieces := narrow.get(table.name):
                write(table, pa.concat_tables(pieces))
    write_parquet(shard, pa.concat_tables(outcomes))
    return pa.concat_tables(outcomes)


def read_staged(work: WorkFolders, stage: str) -> Staged:
    """Return the outcomes of all staged shards; where two hold a row, the later one counts."""
    files = {path_string(file): file for file in work.staged(stage)}
    if not files:
        return Staged(OUTCOMES.empty_table(), [])
    table = open_dataset(list(files.values())).to_table(columns=[*OUTCOMES.names, "__filename"])
    return Staged(table.select(OUTCOMES.names), [files[name] for name in table["__filename"].to_pylist()])


def _beside(shard: AnyPath, table: Table) -> AnyPath:
    """Return the file of a table that belongs to a file of outcomes."""
    return shard.parent / table.name / shard.name
