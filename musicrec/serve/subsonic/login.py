"""Who is let in: whoever knows the password, or sends it as an API key.

There is one password, and any user name goes with it: nothing here belongs to anybody.
"""

import hashlib
import secrets
from collections.abc import Mapping

from musicrec.serve.subsonic.envelope import (
    CONFLICTING_LOGINS,
    PARAMETER_MISSING,
    UNSUPPORTED_LOGIN,
    WRONG_KEY,
    WRONG_PASSWORD,
    Failure,
)

USER, PASSWORD, TOKEN, SALT, KEY = "u", "p", "t", "s", "apiKey"
HEXADECIMAL = "enc:"  # before a password that is not plain


def check(parameters: Mapping[str, str], password: str) -> None:
    """Return if a request brings the password, in one of the ways that OpenSubsonic knows.

    Parameters
    ----------
    parameters : mapping of str to str
        All parameters of the request: ``u`` with ``t``, md5(password + salt), and ``s``, the salt; ``u`` with ``p``,
        the password, plain or as ``enc:`` and hexadecimal digits; or ``apiKey`` alone.
    password : str
        The password, which is the API key too.

    Raises
    ------
    Failure
        It does not.

    Examples
    --------
    >>> check({"u": "ann", "p": "enc:736573616d65"}, "sesame")
    >>> check({"u": "ann", "t": "26719a1196d2a940705a59634eb18eab", "s": "c19b2d"}, "sesame")
    """
    if KEY in parameters:
        if any(name in parameters for name in (USER, PASSWORD, TOKEN, SALT)):
            raise Failure(CONFLICTING_LOGINS, "apiKey goes without u, p, t and s")
        if not _is(parameters[KEY], password):
            raise Failure(WRONG_KEY, "this is not the API key")
        return
    if PASSWORD in parameters and TOKEN in parameters:
        raise Failure(CONFLICTING_LOGINS, "expected either p, or t and s")
    if PASSWORD in parameters:
        is_known = any(_is(plain, password) for plain in _plain(parameters[PASSWORD]))
    elif TOKEN in parameters:
        salt = _required(parameters, SALT)
        digest = hashlib.md5((password + salt).encode(errors="replace"), usedforsecurity=False).hexdigest()
        is_known = _is(parameters[TOKEN].lower(), digest)
    else:
        raise Failure(PARAMETER_MISSING, "expected u with t and s, u with p, or apiKey")
    _required(parameters, USER)
    if not is_known:
        raise Failure(WRONG_PASSWORD, "wrong user name or password")


def check_header(authorization: str, parameters: Mapping[str, str]) -> None:
    """Return unless a request means to log in by a header alone, which OpenSubsonic does not know.

    Raises
    ------
    Failure
        It does.
    """
    if authorization and not any(name in parameters for name in (KEY, USER, PASSWORD, TOKEN)):
        raise Failure(UNSUPPORTED_LOGIN, "no header logs in; expected u with t and s, u with p, or apiKey")


def _required(parameters: Mapping[str, str], name: str) -> str:
    if not parameters.get(name):
        raise Failure(PARAMETER_MISSING, f"the parameter {name} is missing")
    return parameters[name]


def _plain(given: str) -> list[str]:
    """Return what a password may be: some players write its letters in hexadecimal digits, and not its bytes."""
    if not given.startswith(HEXADECIMAL):
        return [given]
    try:
        content = bytes.fromhex(given.removeprefix(HEXADECIMAL))
    except ValueError:
        return []
    return [content.decode(errors="replace"), content.decode("latin-1")]


def _is(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), wanted.encode(errors="replace"))
