"""Forms: what they sent, once it is clear that they are ours."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from belaypin.web.guard import MAX_BODY

if TYPE_CHECKING:
    from belaypin.web.access import Access

__all__ = ["read_form", "safe_next"]


async def read_form(request: Request, access: Access) -> dict[str, str]:
    """The fields of a form; HTTPException unless it carries the token of this visitor's session."""
    try:
        body = await request.body()
    except ClientDisconnect as error:
        raise HTTPException(413, f"A form may have {MAX_BODY} bytes.") from error
    fields = dict(
        parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=50)
    )
    session = request.scope["state"]["belaypin_session"]
    expected = access.sign("csrf", session.id)
    if not hmac.compare_digest(fields.pop("csrf", "").encode(errors="replace"), expected.encode()):
        raise HTTPException(403, "This form is not ours, or too old: open its page again.")
    return fields


def safe_next(wanted: str) -> str:
    """The address to go on to, if it is one of ours; else the first page.

    >>> safe_next("/leases?limit=5"), safe_next("//evil.example/"), safe_next("/\\\\evil.example")
    ('/leases?limit=5', '/', '/')
    """
    is_ours = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if is_ours and wanted.isprintable() else "/"
