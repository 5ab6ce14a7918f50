"""Conditional requests (RFC 9110): a revision as an entity tag, and as what a client asks for."""

import re
from http import HTTPStatus

from starlette.requests import Request

from joulestat.server.problems import Refused, shown

_TAG = re.compile(r'"(0|[1-9][0-9]{0,15})"')


def entity_tag(revision: int) -> str:
    """Return a revision as the value of ``ETag``."""
    return f'"{revision}"'


def revision_asked(request: Request) -> int | None:
    """Return the revision that ``If-Match`` names, None without that header.

    One revision is all that makes sense here: a list would say that the client does not know
    what it decided upon, and ``*`` that it does not care.

    Raises:
        Refused: It is no single tag of ours.
    """
    given = request.headers.getlist("if-match")
    if not given:
        return None
    found = _TAG.fullmatch(given[0].strip(" \t")) if len(given) == 1 else None
    if found is None:
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "If-Match takes one revision in quotes, as GET /v1/gpus/{uuid} gives it in ETag; leave "
            "the header out to write at any revision",
            field="If-Match",
            value=shown(", ".join(given)),
            allowed='a revision in quotes, such as "7"',
        )
    return int(found[1])
