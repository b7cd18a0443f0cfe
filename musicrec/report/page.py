"""The report page: assembles the sections and writes ``OUT/report.html``."""

import base64
import datetime
import hashlib
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from musicrec.files.paths import AnyPath, write_atomic
from musicrec.report import sections, tuning_section
from musicrec.report.clips_section import clips
from musicrec.report.evaluation_section import evaluation
from musicrec.report.listener_scores_section import listener_scores
from musicrec.report.map_section import maps
from musicrec.report.times_section import Figures, times
from musicrec.serve.no_model import why_no_model
from musicrec.store.store import Store

PLACE = files("musicrec.report")
TEMPLATE = "report.html.jinja"


def write_report(store: Store, now: tuple[str, Figures] | None = None) -> AnyPath:
    """Write ``report.html``: one page that needs no other file and no network; its script only sorts tables.

    If the table of a section does not exist yet, the section shows the command that makes it. Apart from the time of
    writing, the same tables give the same page.

    Parameters
    ----------
    store : Store
    now : tuple, optional
        When the run began that asks for the page, ISO 8601, and the figures of its stages so far.

    Returns
    -------
    pathlib.Path or upath.UPath
        The page, ``OUT/report.html``.

    Raises
    ------
    ConfigError
        The folder is not an OUT.
    SchemaError
        A table was written by another schema version.
    """
    store.require()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("musicrec.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "percent": _percent, "fixed": _fixed, "moment": _moment}
    page = environment.get_template(TEMPLATE).render(_content(store, now))
    path = store.out / "report.html"
    write_atomic(path, page.encode("utf-8"))
    return path


def _content(store: Store, now: tuple[str, Figures] | None) -> dict[str, Any]:
    genres = sections.read_genres(store)
    model = sections.read_model(store)
    listed = sections.listed_ids(store)
    source = str(store.settings.recorded("catalog").get("source", ""))
    style, script = (Markup((PLACE / file).read_text("utf-8")) for file in ("page.css", "page.js"))
    return {
        "style": style,
        "script": script,
        "policy": _policy(script),
        "explore": f"musicrec explore {shlex.quote(str(store.out))}",
        "out": str(store.out),
        "source": source,
        "state": store.state(),
        "written_at": datetime.datetime.now(datetime.UTC).isoformat(),
        "synthetic": _is_synthetic(source, genres),
        "songs": None if genres is None else len(genres),
        "listed": None if listed is None else len(listed),
        "commands": _commands(store),
        "why_not": _why_not(store),
        "accounting": sections.accounting(store, genres),
        "genres": sections.genre_counts(store, genres),
        "model": sections.model(store, model),
        "other_models": sections.other_models(store),
        "evaluation": evaluation(store),
        "listener_scores": listener_scores(store),
        "tuning": tuning_section.section(store),
        "embedding": maps(store, genres),
        "clips": clips(store),
        "features": sections.features(store, model["input"].get("feature_names") if model else None, genres),
        "times": times(store, now),
        "table": sections.recommendations(store, listed, model),
        "examples": sections.examples(store, listed, genres, sections.unseen_songs(store, model)),
    }


def _policy(script: str) -> str:
    """Return the page's Content-Security-Policy: it runs this script and no other, and loads nothing from outside."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _commands(store: Store) -> dict[str, str]:
    """Return the command that makes the table of each section."""
    out = shlex.quote(str(store.out))
    stages = {
        "accounting": "extract",
        "model": "train",
        "embedding": "embed",
        "features": "extract",
        "table": "similar",
        "examples": "similar",
    }
    catalog = f"musicrec catalog {out} --source FOLDER"
    return {"genres": catalog} | {section: f"musicrec {stage} {out}" for section, stage in stages.items()}


def _why_not(store: Store) -> dict[str, str]:
    """Return why no command makes what a section shows: songs without genres get neither model nor embeddings."""
    why = why_no_model(store)
    if why is None:
        return {}
    return {"model": f"There is none: {why}.", "embedding": "There is no model that embeds the songs."}


def _is_synthetic(source: str, genres: pd.Series | None) -> bool:
    if "synthetic" in Path(source).name.lower():
        return True
    return genres is not None and bool(genres.str.lower().str.startswith("synthetic").any())


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(share: float | None) -> str:
    return "–" if share is None or share != share else f"{100 * share:.1f}\u00a0%"  # noqa: PLR0124 - NaN


def _fixed(number: float, digits: int = 3) -> str:
    return f"{number:z.{digits}f}".replace("-", "−")  # z: no negative zero


def _moment(iso: str) -> str:
    return datetime.datetime.fromisoformat(iso).astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
