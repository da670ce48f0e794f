"""Secrets never reach a terminal, a log or a bug report."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

__all__ = ["HIDDEN", "Secrets", "hidden"]

HIDDEN = "***"

_IN_URL = re.compile(r"(\w[\w+.-]*://[^\s:/@]*):\S*@")
_NAMED = re.compile(r"\b((?:ssl)?password|passwd|pwd|secret)(\s*=\s*)('[^']*'|[^\s&'\"]+)", re.I)


def hidden(text: str) -> str:
    """The text without the passwords of URLs and connection strings.

    >>> hidden("no answer from postgresql://app:s3cret@db/app?sslpassword=x")
    'no answer from postgresql://app:***@db/app?sslpassword=***'
    """
    return _NAMED.sub(rf"\1\2{HIDDEN}", _IN_URL.sub(rf"\1:{HIDDEN}@", text))


class Secrets:
    """The passwords that this process was given; they are hidden wherever they turn up."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def learn(self, url: str) -> None:
        """Remember the password of a URL, as it is written and as it is meant."""
        try:
            password = urlsplit(url).password
        except ValueError:  # no URL: whoever opens it says so
            return
        if password:
            self._known |= {password, unquote(password)}

    def hidden(self, text: str) -> str:
        """The text without any password."""
        text = hidden(text)
        for secret in sorted(self._known, key=len, reverse=True):
            if len(secret) > 3:  # shorter ones would blot out ordinary words
                text = text.replace(secret, HIDDEN)
        return text
