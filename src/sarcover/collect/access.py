"""Addresses of files that are open to everybody, but only with a token: Planetary Computer's."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sarcover.collect.polite import Pace, http_retries
from sarcover.errors import UnreadableError
from sarcover.scene.names import parse_date

# Host of a catalogue -> where it gives tokens for a collection.
TOKENS = {
    "planetarycomputer.microsoft.com": "https://planetarycomputer.microsoft.com/api/sas/v1/token/{collection}"
}
_MARGIN = timedelta(minutes=5)  # a token is renewed that long before it ends
_TIMEOUT = 60.0  # seconds


class Access:
    """Signs addresses with a token of their collection, renewed before it ends. Threads may share it.

    Args:
        token_url: where tokens are given, with {collection} in it; None for files that need none.
        pace, retries, delay: of the requests.
    """

    def __init__(self, token_url: str | None, pace: Pace, *, retries: int, delay: float) -> None:
        self.token_url = token_url
        self.pace = pace
        self.retries, self.delay = retries, delay
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, datetime]] = {}

    def signed(self, href: str, collection: str) -> str:
        """The address with a token that is good for a while.

        Raises:
            UnreadableError: no token is given.
        """
        if self.token_url is None or not href.startswith("http"):
            return href
        with self._lock:
            token, end = self._tokens.get(collection, ("", datetime.min.replace(tzinfo=UTC)))
            if end < datetime.now(UTC) + _MARGIN:
                token, end = self._ask(self.token_url.format(collection=collection))
                self._tokens[collection] = token, end
        return f"{href}{'&' if '?' in href else '?'}{token}"

    def _ask(self, address: str) -> tuple[str, datetime]:
        import requests
        from requests.adapters import HTTPAdapter

        self.pace.wait()
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=http_retries(self.retries, self.delay)))
            try:
                answer = session.get(address, timeout=_TIMEOUT)
                answer.raise_for_status()
                content: dict[str, Any] = answer.json()
                end = parse_date(str(content["msft:expiry"]))
                return str(content["token"]), end or datetime.now(UTC) + 2 * _MARGIN
            except (requests.RequestException, KeyError, ValueError) as error:
                raise UnreadableError(f"{address} gives no token", got=str(error)) from error


def token_address(endpoint: str, given: str | None) -> str | None:
    """Where tokens are given for the files of a catalogue; None where none are needed."""
    return given or TOKENS.get(urlsplit(endpoint).hostname or "")
