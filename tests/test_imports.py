"""Imports point down only, and the heavy libraries stay in the rooms that need them."""

import ast
import graphlib
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import musicrec

PACKAGE = Path(musicrec.__file__).parent
JOBS = PACKAGE.parent / "jobs"

LAYERS = [  # lowest first; a room may import from its own layer and from those before it
    {"__init__", "errors", "schemas", "simd", "monitor"},
    {"settings", "files", "audio"},
    {"features", "cluster"},
    {"similarity", "store"},
    {"evaluate"},
    {"models"},
    {"serve"},
    {"report"},
    {"stages"},
    {"cli", "jobs", "__main__"},
]
LAYER = {room: depth for depth, rooms in enumerate(LAYERS) for room in rooms}
ONLY_IN = {  # rooms, or modules of one
    "ray": {"cluster", "stages"},
    "tensorflow": {"models", "similarity", "stages.doctor"},
    "keras": {"models"},
    "onnx": {"models.pretrained"},
    "onnxruntime": {"models.pretrained"},
    "soundfile": {"audio", "stages.doctor"},
    "av": {"audio", "stages.doctor"},
    "aiohttp": {"audio"},
    "umap": {"similarity.layout"},
    "fsspec": {"audio"},
    "upath": {"files", "store", "serve", "stages.catalog"},
    "s3fs": {"audio"},
}
NEVER = {room: {"store", "cluster"} for room in ("features", "similarity", "evaluate", "models")}
KERNELS = {"kernel", "inlined_kernel"}


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
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if "." not in module:  # the public names, which type checkers alone import there
        tree.body = [node for node in tree.body if ast.unparse(getattr(node, "test", node)) != "TYPE_CHECKING"]
    for node in ast.walk(tree):
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
        if room(module) not in LAYER:
            lines.append(f"{module}: room {room(module)} stands in no layer")
            continue
        imported = sorted(set(imports(module, path, known)))
        graph[module] = {name for name in imported if name in known and name != module}
        lines += [f"{module} imports {name}" for name in imported if not allowed(module, name, ours)]
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as e:
        lines.append(f"cycle: {' → '.join(e.args[1])}")
    return lines


def allowed(module, name, ours):
    here, library = room(module), name.partition(".")[0]
    if library not in ours:
        within = module.partition(".")[2] or here
        return any(f"{within}.".startswith(f"{place}.") for place in ONLY_IN.get(library, {within}))
    there = room(name)
    return LAYER.get(there, len(LAYERS)) <= LAYER[here] and there not in NEVER.get(here, ())


@pytest.mark.thorough
def test_imports_point_down_and_heavy_libraries_stay_where_they_belong():
    assert faults(PACKAGE, *[folder for folder in [JOBS] if folder.is_dir()]) == []


def test_every_room_of_the_table_exists_and_there_are_few():
    rooms = {room(module) for module in modules(PACKAGE)}
    assert rooms == {name for name in LAYER if name != "jobs"}
    assert len(LAYER) <= 20
    assert len([entry for entry in PACKAGE.iterdir() if entry.name != "__pycache__"]) <= 20


def test_no_two_modules_have_one_name():
    found = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        found[path.stem].append(path)
    assert {name: paths for name, paths in found.items() if len(paths) > 1}.keys() <= {"__init__", "__main__", "stage"}


# --- kernels ----------------------------------------------------------------------------------------------------------


def kernels(path):
    """The compiled functions of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and KERNELS & {ast.unparse(d) for d in node.decorator_list}:
            yield node


def strange_calls(package):
    """One line for every kernel that uses one of another folder, whose changes would not compile it anew."""
    known = modules(package)
    compiled = {f"{module}.{kernel.name}" for module, path in known.items() for kernel in kernels(path)}
    lines = []
    for module, path in known.items():
        called = {}  # what a name stands for in this file
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                called |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for kernel in kernels(path):
            for node in ast.walk(kernel):
                text = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
                first, dot, rest = text.partition(".")
                name = called.get(first, first) + dot + rest
                if name in compiled and known[name.rpartition(".")[0]].parent != path.parent:
                    lines.append(f"{module}.{kernel.name} uses {name}")
    return lines


@pytest.mark.thorough
def test_a_kernel_uses_no_kernel_of_another_folder():
    assert strange_calls(PACKAGE) == []


def test_a_kernel_that_uses_one_of_another_folder_is_named(tmp_path):
    far = "from musicrec.simd.lanes import kernel\n@kernel\ndef far(): ..."
    near = (
        "from musicrec.simd.lanes import kernel\nfrom musicrec.features import far as other\n"
        "from musicrec.features.far import far\n"
        "@kernel\ndef near():\n    far()\n@kernel\ndef nearer():\n    near()\n    other.far()"
    )
    package = fake(tmp_path, **{"features/far": far, "similarity/near": near})
    assert strange_calls(package) == [
        "musicrec.similarity.near.near uses musicrec.features.far.far",
        "musicrec.similarity.near.nearer uses musicrec.features.far.far",
    ]


# --- the checker ------------------------------------------------------------------------------------------------------

GOOD = {
    "__init__": "if TYPE_CHECKING:\n    from musicrec.cli import f as f\n__version__ = '1'",
    "errors": "class E(Exception): ...",
    "store/versions": "from musicrec import errors",
    "similarity/__init__": "from musicrec.similarity.exact import top_n",
    "similarity/exact": "from musicrec.errors import E\ntop_n = None",
    "stages/similar": "import ray\nfrom musicrec.similarity import top_n\nfrom ..store.versions import *\n"
    "import musicrec.errors",
    "models/__init__": "def f():\n    import keras\n    from tensorflow import data",
    "cli": "from musicrec import __version__\ndef f():\n    from musicrec.stages.similar import top_n",
}


def fake(folder, **changed):
    for name, code in {**GOOD, **changed}.items():
        path = folder / "musicrec" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    return folder / "musicrec"


def test_the_checker_has_nothing_to_say_about_a_good_house(tmp_path):
    assert faults(fake(tmp_path)) == []


STORE, SIMILAR = "store/versions", "stages/similar"


@pytest.mark.parametrize(
    ("name", "code", "fault"),
    [
        (STORE, "from musicrec.stages.similar import x", "musicrec.store.versions imports musicrec.stages.similar"),
        (STORE, "from musicrec.stages import similar", "musicrec.store.versions imports musicrec.stages.similar"),
        (STORE, "import musicrec.stages.similar as s", "musicrec.store.versions imports musicrec.stages.similar"),
        (STORE, "from .. import errors, cli", "musicrec.store.versions imports musicrec.cli"),
        (STORE, "def f():\n    from musicrec.cli import main", "musicrec.store.versions imports musicrec.cli"),
        ("__init__", "from musicrec.store.versions import V", "musicrec imports musicrec.store.versions"),
        ("similarity/exact", "from ..cli import x", "musicrec.similarity.exact imports musicrec.cli"),
        (
            "similarity/exact",
            "from musicrec.store import versions",
            "musicrec.similarity.exact imports musicrec.store.versions",
        ),
        (
            "models/mlp",
            "from musicrec.store.versions import V",
            "musicrec.models.mlp imports musicrec.store.versions",
        ),
        ("cli", "def f():\n    if 1:\n        import ray.train", "musicrec.cli imports ray.train"),
        (SIMILAR, "from keras.layers import Dense", "musicrec.stages.similar imports keras.layers"),
        ("errors", "from tensorflow import data", "musicrec.errors imports tensorflow"),
        (SIMILAR, "import soundfile as sf", "musicrec.stages.similar imports soundfile"),
        ("stages/doctors", "import soundfile", "musicrec.stages.doctors imports soundfile"),
        (STORE, "def f():\n    from av import open", "musicrec.store.versions imports av"),
        ("cellar", "", "musicrec.cellar: room cellar stands in no layer"),
        ("errors", "from musicrec.cellar import wine", "musicrec.errors imports musicrec.cellar"),
    ],
)
def test_the_checker_names_a_forbidden_import(tmp_path, name, code, fault):
    first, *others = faults(fake(tmp_path, **{name: code}))
    assert first == fault
    assert all(line.startswith("cycle: ") for line in others)


def test_the_checker_lets_a_library_into_a_part_of_a_room(tmp_path):
    assert faults(fake(tmp_path, **{"stages/doctor/codecs": "import soundfile"})) == []


def test_the_checker_names_a_cycle_within_a_layer(tmp_path):
    package = fake(tmp_path, errors="from musicrec.schemas import A", schemas="def f():\n    import musicrec.errors")
    (fault,) = faults(package)
    assert fault.startswith("cycle: ")
    assert {"musicrec.errors", "musicrec.schemas"} <= set(fault.split())


def test_jobs_are_checked_as_the_top_of_the_house(tmp_path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "run.py").write_text("from musicrec.cli import main")
    package = fake(tmp_path, cli="import jobs.run")
    assert faults(package, jobs)[0].startswith("cycle: ")
    package = fake(tmp_path, **{STORE: "import jobs.run", "cli": ""})
    assert faults(package, jobs) == ["musicrec.store.versions imports jobs.run"]


EXTRACT = """
import sys
import numpy as np
from musicrec import features
noise = np.random.default_rng(0).normal(size=22050).astype(np.float32)
features.extract(noise, 22050, ["gtzan57", "iiitd41"])
features.mel(noise, 22050)
print(*sorted(name for name in sys.modules if name.startswith("librosa.")))
"""


@pytest.mark.thorough
def test_extracting_loads_no_part_of_librosa_that_compiles():
    """On a fresh node they compile for 20 seconds, in every worker before its first song."""
    ended = subprocess.run([sys.executable, "-c", EXTRACT], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    assert "librosa.filters" in loaded  # else the names below are no longer librosa's way to name its parts
    assert loaded.isdisjoint({"librosa.util.utils", "librosa.core.spectrum", "librosa.feature.rhythm"})
