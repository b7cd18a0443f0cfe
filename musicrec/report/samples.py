"""Samples of rows, drawn by an explicit seed: the same table gives the same sample."""

import numpy as np
import pyarrow as pa

from musicrec.report.numbers import SEED
from musicrec.store.store import Store


def sampled(store: Store, name: str, columns: list[str], most: int) -> tuple[pa.Table, int]:
    """Return at most `most` rows of a table, always the same ones, and how many rows the table has."""
    dataset = store.dataset(name)
    rows = dataset.count_rows()
    if rows <= most:
        return dataset.to_table(columns=columns), rows
    chosen = np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))
    return dataset.take(pa.array(chosen), columns=columns), rows
