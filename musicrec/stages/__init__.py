"""What each command does: a module or package for each stage, and the chain that runs them in order.

:func:`run` and :func:`refresh` are the commands of the same names, for Python.
"""

import os
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from musicrec.files.paths import AnyPath
from musicrec.store.store import Store

StageValues = Mapping[str, Mapping[str, Any]]


def run(
    out: str | PathLike[str] | AnyPath,
    source: str | PathLike[str] | None = None,
    *,
    settings: StageValues | None = None,
    show: Callable[[object], None] = print,
    **how: Any,  # noqa: ANN401
) -> AnyPath:
    """Run the whole chain on the songs of a source: catalog, extract, train, embed, similar, report.

    Finished work is not done again, and a run that was stopped continues where it stopped.

    Parameters
    ----------
    out : str or path-like
        OUT: a folder or an s3:// prefix. It is made if it does not exist.
    source : str or path-like, optional
        A folder of songs, a manifest, or an s3:// prefix; that of the last run by default.
    settings : mapping of str to mapping, optional
        Settings of each stage, by the name of the stage. What is not given is as in the last run, or the default.
    show : callable, optional
        Called with the counts of each stage when the stage ends.
    **how
        Options of the command ``musicrec run``, such as ``address="auto"`` or ``limit=1000``: ``address``,
        ``workers``, ``retry_failed``, ``max_failed_fraction``, ``seconds_per_file``, ``limit`` and ``force``; and
        ``max_removed_fraction``, which is 1 by default.

    Returns
    -------
    pathlib.Path or upath.UPath
        Path of the report, an HTML page.

    Raises
    ------
    ConfigError
        A setting is unknown or out of range, or there is no source: none is given, and there was no run before.
    InUse
        Another run holds OUT.
    MusicrecError
        A stage failed, and the message says why. What is done is kept.

    Examples
    --------
    >>> import musicrec
    >>> musicrec.run("/data/out", "/data/songs", settings={"similar": {"n": 20}})  # doctest: +SKIP
    PosixPath('/data/out/report.html')
    """
    from musicrec.stages import chain

    store = Store(out)
    store.create()
    with store.lock():
        chosen = chain.chain_settings(store, _with_source(settings, source)).with_what_the_model_reads()
        return chain.run(store, chosen, show=show, **how)


def refresh(
    out: str | PathLike[str] | AnyPath,
    source: str | PathLike[str] | None = None,
    *,
    settings: StageValues | None = None,
    deadline_s: float | None = None,
    max_removed_fraction: float = 0.5,
    show: Callable[[str], None] = print,
    **how: Any,  # noqa: ANN401
) -> AnyPath:
    """Bring what is published up to date with its source. Only songs that were added or changed are decoded.

    The published model embeds them. A model is trained only if none is published.

    Parameters
    ----------
    out : str or path-like
        OUT: a folder or an s3:// prefix. It is made if it does not exist.
    source : str or path-like, optional
        A folder of songs, a manifest, or an s3:// prefix; that of the last run by default.
    settings : mapping of str to mapping, optional
        Settings of each stage, by the name of the stage. What is not given is as in the last run, or the default.
    deadline_s : float, optional
        Seconds after which the run ends; the next run continues from there.
    max_removed_fraction : float, optional
        Largest share of its songs, from 0 to 1, that the source may have lost. If it lost more, the run fails and
        changes nothing.
    show : callable, optional
        Called with a line about each stage when the stage ends.
    **how
        Other options as for :func:`run`.

    Returns
    -------
    pathlib.Path or upath.UPath
        Path of the JSON report of the run. A run that fails writes one too.

    Raises
    ------
    ConfigError, InUse, MusicrecError
        As for :func:`run`.
    DeadlinePassed
        The deadline has passed. What is done is kept; the next run continues from there.
    CatalogError
        The source is missing, or lost too many songs.
    PublishError
        The new table of similar songs did not pass its gate. The one before it stays published.

    Examples
    --------
    >>> import musicrec
    >>> musicrec.refresh("/data/out", deadline_s=4 * 3600)  # doctest: +SKIP
    PosixPath('/data/out/_runs/20261129T020000.000000Z.json')
    """
    from musicrec.stages import chain

    store = Store(out)
    store.create()
    with store.lock():
        chosen = chain.chain_settings(store, _with_source(settings, source)).of_a_night()
        return chain.refresh(
            store, chosen, deadline_s=deadline_s, max_removed_fraction=max_removed_fraction, show=show, **how
        )


def _with_source(settings: StageValues | None, source: str | PathLike[str] | None) -> StageValues:
    given = dict(settings or {})
    if source is not None:
        given["catalog"] = {**given.get("catalog", {}), "source": os.path.expanduser(source)}  # noqa: PTH111 - s3:// too
    return given
