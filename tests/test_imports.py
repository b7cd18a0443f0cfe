"""Imports point down only, and the heavy libraries stay in the rooms that need them."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import musicrec

PACKAGE = Path(musicrec.__file__).parent
JOBS = PACKAGE.parent / "jobs"

LAYERS = [  # lowest first; a room may import from its own layer and from those before it
    {"__init__", "errors", "columns", "lanes"},
    {
        "accounting",
        "faults",
        "settings",
        "log",
        "progress",
        "watchdog",
        "deadline",
        "cluster_use",
        "usage",
        "files",
        "s3",
    },
    {"footers", "parquet", "pointer", "lock"},
    {"versions"},
    {"storage", "sources", "audio"},
    {"features", "similarity", "models", "evaluate", "demo"},
    {
        "cluster",
        "metrics",
        "tfconfig",
        "sidecar",
        "served",
        "remote",
        "lookup",
        "export",
        "report",
        "catalog",
        "rows",
        "parts",
        "songs",
        "ray_train",
        "status",
        "recommend",
        "listen",
    },
    {"vectors", "compared"},
    {"compare", "publish"},
    {"extract", "train", "tune", "cross_validate", "embed", "similar"},
    {"runs", "doctor"},
    {"pipeline", "options"},
    {"cli", "jobs", "__main__"},
]
LAYER = {room: depth for depth, rooms in enumerate(LAYERS) for room in rooms}
ONLY_IN = {
    "ray": {
        "cluster",
        "metrics",
        "tfconfig",
        "ray_train",
        "extract",
        "train",
        "tune",
        "cross_validate",
        "embed",
        "compare",
        "similar",
        "doctor",
        "jobs",
    },
    "tensorflow": {"models", "similarity", "doctor"},
    "keras": {"models"},
    "soundfile": {"audio", "doctor"},
    "av": {"audio", "doctor"},
    "aiohttp": {"audio"},
    "fsspec": {"audio"},
    "upath": {"files", "pointer", "lock", "remote", "sources"},
    "s3fs": {"audio"},
}
NEVER = {room: {"storage", "cluster"} for room in ("features", "similarity", "models", "evaluate")}


def modules(package):
    """Path of every module of a package, by dotted name; a package goes by the name of its folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module, path, known):
    """Dotted names that a module imports, wherever in the file; those of `known` modules as exactly as can be."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in known else base


def room(module):
    """``similarity`` for ``musicrec.similarity.exact``; ``__init__`` for ``musicrec`` itself."""
    top, *below = module.split(".")
    return top if top == "jobs" else (below or ["__init__"])[0]


def faults(*packages):
    """One line for every import that the tables above do not allow, and for a cycle."""
    known = {name: path for package in packages for name, path in modules(package).items()}
    ours = {package.name for package in packages}
    graph, lines = {}, []
    for module, path in known.items():
        here = room(module)
        if here not in LAYER:
            lines.append(f"{module}: room {here} stands in no layer")
            continue
        imported = sorted(set(imports(module, path, known)))
        graph[module] = {name for name in imported if name in known and name != module}
        lines += [f"{module} imports {name}" for name in imported if not allowed(here, name, ours)]
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as e:
        lines.append(f"cycle: {' → '.join(e.args[1])}")
    return lines


def allowed(here, name, ours):
    library = name.partition(".")[0]
    if library not in ours:
        return here in ONLY_IN.get(library, {here})
    there = room(name)
    return LAYER.get(there, len(LAYERS)) <= LAYER[here] and there not in NEVER.get(here, ())


def test_imports_point_down_and_heavy_libraries_stay_where_they_belong():
    assert faults(PACKAGE, *[folder for folder in [JOBS] if folder.is_dir()]) == []


def test_every_room_of_the_table_exists():
    rooms = {room(module) for module in modules(PACKAGE)}
    assert rooms == {name for name in LAYER if name != "jobs"}


GOOD = {
    "__init__": "__version__ = '1'",
    "errors": "class E(Exception): ...",
    "storage": "from musicrec import errors",
    "similarity/__init__": "from musicrec.similarity.exact import top_n",
    "similarity/exact": "from musicrec.errors import E\ntop_n = None",
    "similar": "import ray\nfrom musicrec.similarity import top_n\nfrom .storage import *\nimport musicrec.errors",
    "models/__init__": "def f():\n    import keras\n    from tensorflow import data",
    "cli": "from musicrec import __version__\ndef f():\n    from musicrec.similar import top_n",
}


def fake(folder, **changed):
    for name, code in {**GOOD, **changed}.items():
        path = folder / "musicrec" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return folder / "musicrec"


def test_the_checker_has_nothing_to_say_about_a_good_house(tmp_path):
    assert faults(fake(tmp_path)) == []


@pytest.mark.parametrize(
    ("name", "code", "fault"),
    [
        ("storage", "from musicrec.similar import x", "musicrec.storage imports musicrec.similar"),
        ("storage", "from musicrec import similar", "musicrec.storage imports musicrec.similar"),
        ("storage", "import musicrec.similar as s", "musicrec.storage imports musicrec.similar"),
        ("storage", "from . import errors, cli", "musicrec.storage imports musicrec.cli"),
        ("storage", "def f():\n    from musicrec.cli import main", "musicrec.storage imports musicrec.cli"),
        ("__init__", "from musicrec.storage import Store", "musicrec imports musicrec.storage"),
        ("similarity/exact", "from ..similar import x", "musicrec.similarity.exact imports musicrec.similar"),
        ("similarity/exact", "from musicrec import storage", "musicrec.similarity.exact imports musicrec.storage"),
        ("models/mlp", "from musicrec.storage import Store", "musicrec.models.mlp imports musicrec.storage"),
        ("cli", "def f():\n    if 1:\n        import ray.train", "musicrec.cli imports ray.train"),
        ("similar", "from keras.layers import Dense", "musicrec.similar imports keras.layers"),
        ("errors", "from tensorflow import data", "musicrec.errors imports tensorflow"),
        ("similar", "import soundfile as sf", "musicrec.similar imports soundfile"),
        ("storage", "def f():\n    from av import open", "musicrec.storage imports av"),
        ("cellar", "", "musicrec.cellar: room cellar stands in no layer"),
        ("errors", "from musicrec.cellar import wine", "musicrec.errors imports musicrec.cellar"),
    ],
)
def test_the_checker_names_a_forbidden_import(tmp_path, name, code, fault):
    first, *others = faults(fake(tmp_path, **{name: code}))
    assert first == fault
    assert all(line.startswith("cycle: ") for line in others)


def test_the_checker_names_a_cycle_within_a_layer(tmp_path):
    package = fake(tmp_path, errors="from musicrec.columns import A", columns="def f():\n    import musicrec.errors")
    (fault,) = faults(package)
    assert fault.startswith("cycle: ")
    assert {"musicrec.errors", "musicrec.columns"} <= set(fault.split())


def test_jobs_are_checked_as_the_top_of_the_house(tmp_path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "run.py").write_text("import ray\nfrom musicrec.cli import main")
    package = fake(tmp_path, cli="import jobs.run")
    assert faults(package, jobs)[0].startswith("cycle: ")
    assert faults(fake(tmp_path, storage="import jobs.run", cli=""), jobs) == ["musicrec.storage imports jobs.run"]


EXTRACT = """
import sys
import numpy as np
from musicrec import features
noise = np.random.default_rng(0).normal(size=22050).astype(np.float32)
features.extract(noise, 22050, ["gtzan57", "iiitd41"])
features.mel(noise, 22050)
print(*sorted(name for name in sys.modules if name.startswith("librosa.")))
"""


def test_extracting_loads_no_part_of_librosa_that_compiles():
    """On a fresh node they compile for 20 seconds, in every worker before its first song."""
    ended = subprocess.run([sys.executable, "-c", EXTRACT], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    assert "librosa.filters" in loaded  # else the names below are no longer librosa's way to name its parts
    assert loaded.isdisjoint({"librosa.util.utils", "librosa.core.spectrum", "librosa.feature.rhythm"})
