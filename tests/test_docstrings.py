"""Docstrings of the public names: their sections fit the signatures, and their examples run."""

import doctest
import inspect
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

import musicrec

PACKAGE = Path(musicrec.__file__).parent
KEPT = Path(__file__).parent / "data" / "kept"

PUBLIC_MODULES = ("musicrec", "musicrec.audio", "musicrec.features", "musicrec.similarity")
SHOWN_TOO = {  # what public methods return; the page of the documentation shows them too
    "musicrec.serve.lookup": ("Similar", "Song"),
    "musicrec.serve.recommend": ("Recommendation",),
}
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
ENTRY = re.compile(r"^(?=\S)(.+)\n((?:(?: .*)?\n)*)", re.MULTILINE)


def sections(docstring):
    """Text of each section of a numpydoc docstring, by its title."""
    parts = SECTION.split(inspect.cleandoc(docstring) + "\n")
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(section):
    """Names of each entry of a section, and the text below them."""
    return [(head.partition(" : ")[0].split(", "), text.strip()) for head, text in ENTRY.findall(section)]


def parameters(function):
    """Names of the parameters as a docstring gives them, without self and cls."""
    if isinstance(function, type) and issubclass(function, Exception) and "__init__" not in vars(function):
        return []
    star = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    found = inspect.signature(function).parameters.values()
    return [star.get(p.kind, "") + p.name for p in found if p.name not in ("self", "cls")]


def returns(function):
    """Whether a function returns or yields something; a constructor does not count."""
    return not isinstance(function, type) and inspect.signature(function).return_annotation not in (
        None,
        "None",
        inspect.Signature.empty,
    )


def faults(function, docstring, *, example):
    """What is missing in a docstring, or is there and should not be."""
    found = sections(docstring or "")
    given = entries(found.get("Parameters", ""))
    if isinstance(function, type) and issubclass(function, tuple):  # a named tuple that musicrec makes has attributes
        given = given or entries(found.get("Attributes", ""))
    names = [name for names, _ in given for name in names]
    if not docstring:
        yield "has no docstring"
    if names != parameters(function):
        yield f"describes the parameters {names}, but has {parameters(function)}"
    if empty := [names for names, text in given if not text]:
        yield f"has no text for {empty}"
    if returns(function) != bool({"Returns", "Yields"} & found.keys()):
        yield "returns something that it does not describe, or describes what it does not return"
    if example and ">>> " not in found.get("Examples", ""):
        yield "has no example"


def public_members(cls):
    """Public functions, class methods and properties that a class defines."""
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", member)
        if not name.startswith("_") and (inspect.isfunction(function) or isinstance(member, property)):
            yield name, function


def public():
    """Each public name: its object, whether it needs an example, and its own name."""
    shown = {module: import_module(module).__all__ for module in PUBLIC_MODULES} | SHOWN_TOO
    for module, names in shown.items():
        for name in names:
            item = getattr(import_module(module), name)
            if inspect.isfunction(item) or inspect.isclass(item):
                yield pytest.param(item, module not in SHOWN_TOO, id=f"{module}.{name}")
            if inspect.isclass(item):
                yield from (
                    pytest.param(function, False, id=f"{module}.{name}.{method}")
                    for method, function in public_members(item)
                )


@pytest.mark.parametrize(("item", "example"), list(public()))
def test_a_docstring_describes_what_goes_in_and_what_comes_out(item, example):
    if isinstance(item, property):
        assert item.__doc__
    else:
        assert list(faults(item, item.__doc__, example=example)) == []


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_the_documentation_finds_every_public_name(name):
    module = import_module(name)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("name", PUBLIC_MODULES[1:])
def test_a_package_describes_its_public_constants(name):
    module = import_module(name)
    constants = [n for n in module.__all__ if not callable(getattr(module, n)) or n.isupper()]
    assert [n for n in constants if f"``{n}``" not in module.__doc__] == []


# --- what the checks find -----------------------------------------------------------------------------------------

SCALE = """
    Multiply by a factor.

    Parameters
    ----------
    x, factor : float
        Two numbers.
    **how
        More.

    Returns
    -------
    float
        The product.

    Examples
    --------
    >>> scale(2.0, 3.0)
    6.0
"""


def scale(x: float, factor: float, **how: object) -> float:
    return x * factor


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", None),
        ("x, factor", "x", "describes the parameters ['x', '**how'], but has ['x', 'factor', '**how']"),
        ("x, factor", "factor, x", "describes the parameters ['factor', 'x', '**how'], but has"),
        ("        More.\n", "", "has no text for [['**how']]"),
        ("Returns\n    -------", "Notes\n    -----", "returns something that it does not describe"),
        (">>> ", "", "has no example"),
    ],
)
def test_a_fault_of_a_docstring_is_found(old, new, fault):
    found = list(faults(scale, SCALE.replace(old, new), example=True))
    assert [text[: len(fault)] for text in found] == [fault] if fault else found == []


# --- examples -----------------------------------------------------------------------------------------------------


def modules_with_examples():
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            yield ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_examples_show_what_happens(name, tmp_path, monkeypatch):
    """In a folder with songs and the OUT that was made of them."""
    shutil.copytree(KEPT, tmp_path / "kept", symlinks=True)
    monkeypatch.chdir(tmp_path / "kept")
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, attempted = doctest.testmod(import_module(name), optionflags=flags, verbose=False)
    assert attempted > 0
    assert failed == 0
