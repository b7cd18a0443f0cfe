"""The token by which Ray keeps strangers off a cluster.

A client that does not show a cluster's token gets no answer for 20 seconds, and then no reason. A cluster without a
token lets in a client that shows one. So a token is shown whenever there is one. An embedded Ray needs one too: left
alone, it writes one into the home folder, and the account's next cluster would then ask for it.
(Ray 2.60; its guide is https://docs.ray.io/en/latest/ray-security/token-auth.html.)
"""

import os
import secrets
from pathlib import Path

FILE = "~/.ray/auth_token"


def show_token(*, embedded: bool) -> None:
    """Let this process show its token, unless ``RAY_AUTH_MODE`` says otherwise.

    Parameters
    ----------
    embedded : bool
        Whether Ray is about to start inside this process; it then gets a token of its own if the account has none.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if embedded and not has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if has_token() and "RAY_AUTH_MODE" not in os.environ:
        from ray._raylet import Config  # type: ignore[attr-defined]

        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")  # Ray has read the environment when it was imported


def has_token() -> bool:
    """Return whether Ray finds a token: in the environment, or in the home folder."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or Path(os.path.expanduser(FILE)).is_file()  # noqa: PTH111 - without a home, pathlib raises
