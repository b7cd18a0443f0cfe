"""The requests below ``/rest/``: their parameters, and answers with status 200 as players of Subsonic expect it."""

import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from musicrec.errors import MusicrecError, UnknownTrack
from musicrec.serve.service.access import BadRequest, body
from musicrec.serve.service.followed_table import FollowedTable, OpenVersion
from musicrec.serve.service.request_counts import RequestCounts
from musicrec.serve.subsonic.envelope import GENERIC, NOT_ALLOWED, NOT_FOUND, TYPES, XML, Content, Failure, written
from musicrec.serve.subsonic.login import check, check_header
from musicrec.serve.subsonic.player_answers import ANSWERS, CHANGING, PUBLIC, Asked

FORM = "application/x-www-form-urlencoded"
MOST_PARAMETERS = 1000


def rest(followed: FollowedTable, counts: RequestCounts, password: str) -> Route:
    """Return what answers the requests of players.

    Parameters
    ----------
    followed : FollowedTable
        What is published.
    counts : RequestCounts
        Where answers are counted.
    password : str
        What players must know; it is the API key too.
    """

    async def endpoint(request: Request) -> Response:
        start = time.perf_counter()
        name = request.path_params["name"].removesuffix(".view")
        parameters: Mapping[str, str] = request.query_params
        found: Content | Response | Failure
        try:
            parameters = await _parameters(request)
            found = await _found(followed.current, name, parameters, request, password)
        except Failure as e:
            found = e
        response = found if isinstance(found, Response) else _response(found, parameters.get("f", XML))
        kind = name if name in ANSWERS else "{name}"
        counts.add(f"/rest/{kind}", response.status_code, time.perf_counter() - start)
        return response

    return Route("/rest/{name}", endpoint, methods=["GET", "POST"])


async def _parameters(request: Request) -> Mapping[str, str]:
    """Return the parameters in the address and in the form; the first of each name counts."""
    sent = b""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        try:
            sent = await body(request)
        except BadRequest as e:
            raise Failure(GENERIC, str(e)) from e
    found: dict[str, str] = {}
    for text in (request.url.query, sent.decode(errors="replace")):
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MOST_PARAMETERS)
        except ValueError as e:
            raise Failure(GENERIC, f"over {MOST_PARAMETERS} parameters; expected fewer") from e
        for name, value in pairs:
            found.setdefault(name, value)
    return found


async def _found(
    opened: OpenVersion, name: str, parameters: Mapping[str, str], request: Request, password: str
) -> Content | Response:
    """Return the answer of one version of the table.

    Raises
    ------
    Failure
        There is none.
    """
    if parameters.get("f", XML) not in TYPES:
        raise Failure(GENERIC, f"f = {parameters['f'][:50]}; expected {' or '.join(TYPES)}")
    if name not in PUBLIC:
        check_header(request.headers.get("authorization", ""), parameters)
        check(parameters, password)
    if name not in ANSWERS:
        if CHANGING.match(name):
            raise Failure(NOT_ALLOWED, f"{name[:50]} would change something; musicrec only reads")
        raise Failure(GENERIC, f"{name[:50]} is not served; expected one of {', '.join(ANSWERS)}")
    try:
        return await run_in_threadpool(ANSWERS[name], Asked(opened, parameters, request))
    except UnknownTrack as e:
        raise Failure(NOT_FOUND, opened.told(e)) from e
    except MusicrecError as e:
        raise Failure(GENERIC, opened.told(e)) from e


def _response(found: Content | Failure, form: str) -> Response:
    form = form if form in TYPES else XML
    return Response(written(found, form), media_type=TYPES[form])
