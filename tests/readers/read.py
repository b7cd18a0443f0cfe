"""Read tables as a section of the guide does, and keep what was read as Arrow files; knows nothing of musicrec.

usage: python read.py RECIPE FOLDER TABLE...

RECIPE is the code of the section. Each of its lines ``table = ...`` is a way to read a table. What way number i makes
of a TABLE is FOLDER/TABLE.i.arrow, or FOLDER/TABLE.i.error.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

SHOWN = "similar"  # the table that the guide reads


def to_arrow(table: Any) -> pa.Table:
    """Return what a tool has read as an Arrow table, by the tool's own conversion."""
    tool = type(table).__module__.split(".")[0]
    if isinstance(table, ds.Dataset):
        return table.to_table()
    if tool in ("pandas", "fastparquet"):
        return pa.Table.from_pandas(table, preserve_index=False)
    if tool == "pyspark":
        return table.toArrow()
    if tool == "ray":
        import ray

        return pa.concat_tables(ray.get(table.to_arrow_refs()))
    if tool == "datasets":
        return table.with_format("arrow")[:]
    return table.to_arrow_table() if hasattr(table, "to_arrow_table") else table.to_arrow()


def main(recipe: str, folder: str, *tables: str) -> None:
    """Read every table in every way."""
    lines = Path(recipe).read_text().splitlines()
    ways = [line for line in lines if line.startswith("table = ")]
    names: dict[str, Any] = {}
    exec("\n".join(line for line in lines if line not in ways), names)
    for table in tables:
        for number, way in enumerate(ways):
            file = Path(folder) / f"{table.replace('/', '-')}.{number}"
            try:
                exec(way.replace(f"OUT/{SHOWN}", f"OUT/{table}"), names)
                read = to_arrow(names["table"])
                with pa.ipc.new_file(f"{file}.arrow", read.schema) as writer:
                    writer.write_table(read)
            except Exception:
                Path(f"{file}.error").write_text(traceback.format_exc(limit=-1))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # no tool's tear-down is part of the test
