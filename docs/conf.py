"""How Sphinx builds the documentation: `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for generated.py
sys.path.insert(0, str(Path(__file__).parent.parent))  # a checkout documents itself, not an installed copy

from sphinx.application import Sphinx

from musicrec import __version__

project = "musicrec"
version = release = __version__
html_title = f"musicrec {release}"
html_theme = "furo"
html_show_copyright = False
smartquotes = False  # they would make one dash of the two before an option

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc", "sphinx_click", "generated"]
exclude_patterns = ["_build", "requirements.lock"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections name the types
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
add_module_names = False


def leave_out_fields(_app: object, _what: str, _name: str, member: object, *_: object) -> bool | None:
    """Leave out fields of named tuples: their class describes them."""
    return True if (getattr(member, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> None:
    """Connect what is above, as Sphinx asks for it."""
    app.connect("autodoc-skip-member", leave_out_fields)
