"""The stages: one module or package per stage, and the chain that runs them in order.

:func:`run` and :func:`refresh` do in Python what the commands of the same names do.
"""

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
    """Run all stages on the songs of a source: catalog, extract, train, embed, similar, report.

    Finished work is not repeated. A run that was stopped continues where it stopped.

    Parameters
    ----------
    out : str or path-like
        OUT: a folder or an s3:// prefix. It is created if it does not exist.
    source : str or path-like, optional
        A folder of songs, a manifest, or an s3:// prefix; by default the source of the last run.
    settings : mapping of str to mapping, optional
        Settings of each stage, by its name. A setting that is not given is as in the last run, or the default.
    show : callable, optional
        Called with the counts of each stage as it ends.
    **how
        As for :func:`musicrec.stages.chain.stages`, such as ``address="auto"`` or ``limit=1000``.

    Returns
    -------
    pathlib.Path or upath.UPath
        The report, an HTML page.

    Raises
    ------
    ConfigError
        A setting is unknown or out of range, or there is no source, neither given nor from a run before.
    InUse
        Another run holds OUT.
    MusicrecError
        A stage failed; the message says why. Finished work is kept.

    Examples
    --------
    >>> import musicrec
    >>> musicrec.run("out", "~/Music", settings={"similar": {"n": 20}})  # doctest: +SKIP
    PosixPath('out/report.html')
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
    show: Callable[[str], None] = print,
    **how: Any,  # noqa: ANN401
) -> AnyPath:
    """Bring the published tables up to date with the source. Only songs that were added or changed are decoded.

    The published model embeds them; a model is trained only if none is published.

    Parameters
    ----------
    out, source, settings
        As for :func:`run`.
    deadline_s : float, optional
        Seconds after which the run stops; the next run continues from there.
    show : callable, optional
        Called with a line about each stage as it ends.
    **how
        As for :func:`musicrec.stages.chain.stages`, such as ``max_removed_fraction=0.1``.

    Returns
    -------
    pathlib.Path or upath.UPath
        The JSON report of the run. It is written even if the run fails.

    Raises
    ------
    ConfigError, InUse, MusicrecError
        As for :func:`run`.
    DeadlinePassed
        The deadline has passed. Finished work is kept, and the next run continues from there.
    PublishError
        The new table of similar songs did not pass its gate; the previous one stays published.

    Examples
    --------
    >>> import musicrec
    >>> musicrec.refresh("out", deadline_s=4 * 3600)  # doctest: +SKIP
    PosixPath('out/_runs/2026-11-29T02-00-00Z-refresh.json')
    """
    from musicrec.stages import chain

    store = Store(out)
    store.create()
    with store.lock():
        chosen = chain.chain_settings(store, _with_source(settings, source)).of_a_night()
        return chain.refresh(store, chosen, deadline_s=deadline_s, show=show, **how)


def _with_source(settings: StageValues | None, source: str | PathLike[str] | None) -> StageValues:
    given = dict(settings or {})
    if source is not None:
        given["catalog"] = {**given.get("catalog", {}), "source": str(source)}
    return given
