"""What every answer is wrapped in, as XML or JSON.

The content of an answer is a dict. In XML its texts, numbers and booleans are attributes, a dict is an element in it,
and a list is an element for each of its items. JSON holds it as it is.
"""

import json
from typing import Any
from xml.etree import ElementTree

from musicrec import __version__
from musicrec.serve.playlist_files import NOT_XML

Content = dict[str, Any]

ABOUT = {"version": "1.16.1", "type": "musicrec", "serverVersion": __version__, "openSubsonic": True}
ROOT, NAMESPACE = "subsonic-response", "http://subsonic.org/restapi"
XML, JSON = "xml", "json"
TYPES = {XML: "application/xml", JSON: "application/json"}
REPLACEMENT = "\ufffd"  # for what XML cannot hold


class Failure(Exception):  # noqa: N818 - reads as what happened
    """Why a request gets no answer.

    Parameters
    ----------
    code : int
        The number that OpenSubsonic gives to errors of this kind.
    message : str
        One line for people.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


GENERIC, PARAMETER_MISSING = 0, 10
WRONG_PASSWORD, UNSUPPORTED_LOGIN, CONFLICTING_LOGINS, WRONG_KEY = 40, 42, 43, 44
NOT_ALLOWED, NOT_FOUND = 50, 70


class Inner(float):
    """A number that is an element in XML too, and no attribute."""


def written(content: Content | Failure, form: str) -> bytes:
    """Return an answer as bytes.

    Parameters
    ----------
    content : dict or Failure
        What it says, or why it says nothing.
    form : str
        ``xml`` or ``json``.

    Examples
    --------
    >>> import json
    >>> json.loads(written({"license": {"valid": True}}, "json"))["subsonic-response"]["license"]
    {'valid': True}
    >>> print(written(Failure(70, "no such song"), "xml").decode().partition("<error ")[2])
    code="70" message="no such song" /></subsonic-response>
    """
    if isinstance(content, Failure):
        status, content = "failed", {"error": {"code": content.code, "message": content.message}}
    else:
        status = "ok"
    whole = {"status": status, **ABOUT, **content}
    if form == JSON:
        return json.dumps({ROOT: whole}, ensure_ascii=False, separators=(",", ":")).encode()
    root = ElementTree.Element(ROOT, xmlns=NAMESPACE)
    _fill(root, whole)
    found: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return found


def _fill(element: ElementTree.Element, content: Content) -> None:
    for name, value in content.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                _fill(ElementTree.SubElement(element, name), part)
            elif isinstance(part, Inner) or isinstance(value, list):
                ElementTree.SubElement(element, name).text = _text(part)
            else:
                element.set(name, _text(part))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else NOT_XML.sub(REPLACEMENT, str(value))
