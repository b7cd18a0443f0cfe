"""Directives that write reference pages from the code: settings, tables and packages."""

import ast
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pyarrow as pa
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx

Rows = list[tuple[str, ...]]

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


class Written(Directive):
    """A directive whose content is Markdown that a method writes."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse what :meth:`markdown` has written, as docutils asks for it."""
        lines = StringList(self.markdown().splitlines(), source=f"<{self.name}>")
        parent = nodes.section()
        self.state.nested_parse(lines, self.content_offset, parent)
        return parent.children

    def markdown(self) -> str:
        """The content."""
        raise NotImplementedError


class Settings(Written):
    """``{settings} MODULE CLASS``: a row for each field of a pydantic model."""

    def markdown(self) -> str:
        """Name, kind, default and description of each field."""
        module, cls = self.arguments
        settings = getattr(import_module(module), cls)
        rows: Rows = [
            (f"`{name}`", kind_of(field), default_of(field, settings.open_means), escaped(field.description or ""))
            for name, field in settings.model_fields.items()
        ]
        return table(("setting", "takes", "default", "meaning"), rows)


class Schema(Written):
    """``{schema} MODULE NAME``: a row for each column of an Arrow schema, with the comment of its line."""

    def markdown(self) -> str:
        """Name, type and meaning of each column."""
        module = import_module(self.arguments[0])
        schema, said = getattr(module, self.arguments[1]), dict(comments(module, self.arguments[1]))
        return table(
            ("column", "type", "meaning"),
            [(f"`{field.name}`", f"`{type_name(field.type)}`", escaped(said.get(field.name, ""))) for field in schema],
        )


class Reasons(Written):
    """``{reasons} MODULE NAME [HEAD]``: a row for each stage, or what HEAD says, and reason of a table of them."""

    optional_arguments = 2

    def markdown(self) -> str:
        """Stages, reason, meaning and remedy of each."""
        module, name, *head = self.arguments
        rows: Rows = [
            (stages, f"`{reason}`", meaning, remedy)
            for stages, reason, meaning, remedy in getattr(import_module(module), name)
        ]
        return table((*(head or ["stage"]), "reason", "meaning", "what to do"), rows)


class ExitCodes(Written):
    """``{exit-codes} MODULE NAME``: a row for each exit code of a table of them."""

    def markdown(self) -> str:
        """Code, meaning and remedy of each."""
        module, name = self.arguments
        rows: Rows = [(str(code), meaning, remedy) for code, meaning, remedy in getattr(import_module(module), name)]
        return table(("code", "meaning", "what to do"), rows)


class Benchmarks(Written):
    """``{benchmarks} FOLDER``: what each benchmark has printed, with its command, processor and versions."""

    def markdown(self) -> str:
        """A section for each JSON file in the folder, which is named from the root of the repository."""
        files = sorted((Path(__file__).parent.parent / self.arguments[0]).glob("*.json"))
        return "\n\n".join(self.section(json.loads(file.read_text(encoding="utf-8"))) for file in files)

    @staticmethod
    def section(found: dict[str, Any]) -> str:
        """One benchmark."""
        versions = ", ".join(f"{package} {version}" for package, version in found["versions"].items())
        machine = f"{found['processor']}, {found['cpus']} CPUs, Python {found['python']}; {versions}; {found['date']}"
        command = " ".join(["python -m", found["benchmark"], *found["arguments"]])
        return "\n".join([f"**`{command}`**", "", machine, "", "```text", *found["output"], "```"])


class Packages(Written):
    """``{packages} PACKAGE``: a row for each package and module in it, with the first line of its docstring."""

    def markdown(self) -> str:
        """Name and purpose of each."""
        package = import_module(self.arguments[0])
        found = [m for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
        rows: Rows = [
            (
                f"`{m.name}{'/' if m.ispkg else '.py'}`",
                escaped(first_line(import_module(f"{package.__name__}.{m.name}"))),
            )
            for m in sorted(found, key=lambda m: (m.ispkg, m.name))
        ]
        return table(("in `musicrec/`", "what it is for"), rows)


class Formats(Written):
    """``{formats} MODULE NAME``: a row for each kind of file of a list of them."""

    def markdown(self) -> str:
        """Name, endings and decoder of each."""
        module, name = self.arguments
        rows: Rows = [
            (form.name, ", ".join(f"`.{extension}`" for extension in form.extensions), form.decoder)
            for form in getattr(import_module(module), name)
        ]
        return table(("format", "endings", "decoder"), rows)


def table(head: tuple[str, ...], rows: Rows) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("<", r"\<")


def kind_of(field: FieldInfo) -> str:
    """What a setting takes: its choices, or its type and bounds."""
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind not in (type(None), ...)]
    choices = [choice for kind in kinds for choice in (get_args(kind) or (kind,))]
    if all(isinstance(choice, str) for choice in choices):
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds = [
        f"{sign} {bound:,}".replace(",", "\u202f")
        for rule in field.metadata
        for name, sign in BOUNDS.items()
        if (bound := getattr(rule, name, None)) is not None
    ]
    return ", ".join([choices[0].__name__, *bounds])


def default_of(field: FieldInfo, open_means: str) -> str:
    """How a default is shown."""
    default: Any = field.default
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return open_means
    if isinstance(default, tuple):
        default = " ".join(default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "none"


def type_name(kind: pa.DataType) -> str:
    """Arrow's name of a type, without the name of a list's field."""
    return str(kind).replace("item: ", "")


def comments(module: ModuleType, schema: str) -> Iterator[tuple[str, str]]:
    """Columns of a schema whose line in the module's source ends in a comment, each with that comment."""
    source = inspect.getsource(module)
    statements = [s for s in ast.parse(source).body if isinstance(s, ast.Assign)]
    lines = next(s for s in statements if isinstance(s.targets[0], ast.Name) and s.targets[0].id == schema)
    for line in source.splitlines()[lines.lineno - 1 : lines.end_lineno]:
        if found := re.search(r'\("(\w+)", .*\),\s+# (.+)$', line):
            yield found[1], found[2]


def first_line(module: ModuleType) -> str:
    """The first sentence of a module's docstring."""
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives, as Sphinx asks for it."""
    for name, directive in (
        ("settings", Settings),
        ("schema", Schema),
        ("reasons", Reasons),
        ("packages", Packages),
        ("exit-codes", ExitCodes),
        ("benchmarks", Benchmarks),
        ("formats", Formats),
    ):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
