"""A STAC API and a file server with range requests, as collect meets them, on this machine.

Searches are answered by place, time and collection, in pages; the first requests can be told to fail.
"""

import json
import re
import threading
from collections import Counter
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PAGE = 2  # items, so that searches have pages
CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/collections",
]


class CatalogueServer:
    """Attributes: url; items; failures: how many requests of a kind fail first; asked: requests by kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: list[dict] = []
        self.failures: Counter = Counter()
        self.asked: Counter = Counter()
        self.token: str | None = None  # that file requests must carry
        self.moments: list[float] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def search(self, asked: dict) -> list[dict]:
        first, last = (datetime.fromisoformat(end) for end in asked["datetime"].split("/"))
        west, south, east, north = asked["bbox"]
        return [
            item
            for item in self.items
            if item["collection"] in asked["collections"]
            and first <= datetime.fromisoformat(item["properties"]["datetime"]) <= last
            and item["bbox"][0] <= east
            and item["bbox"][2] >= west
            and item["bbox"][1] <= north
            and item["bbox"][3] >= south
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        catalogue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def fails(self, kind: str) -> bool:
                with catalogue.lock:
                    catalogue.asked[kind] += 1
                    failing = catalogue.failures[kind] > 0
                    catalogue.failures[kind] -= failing
                if failing:
                    self.send_response(503)
                    self.send_header("Retry-After", "0")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                return failing

            def answer(self, content: object) -> None:
                body = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/geo+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.fails("search"):
                    return
                found, start = catalogue.search(asked), int(asked.get("token", 0))
                links = []
                if start + PAGE < len(found):
                    body = {**asked, "token": str(start + PAGE)}
                    links = [
                        {"rel": "next", "method": "POST", "href": f"{catalogue.url}/search", "body": body}
                    ]
                page = found[start : start + PAGE]
                self.answer({"type": "FeatureCollection", "features": page, "links": links})

            def do_HEAD(self) -> None:
                self.file(body=False)

            def do_GET(self) -> None:
                address = urlsplit(self.path)
                if address.path == "/":
                    self.answer(catalogue.landing())
                elif address.path.startswith("/token/"):
                    if not self.fails("token"):
                        end = "2099-01-01T00:00:00Z"
                        self.answer({"token": f"sig={catalogue.token}", "msft:expiry": end})
                else:
                    self.file(body=True)

            def file(self, body: bool) -> None:
                address = urlsplit(self.path)
                path = catalogue.folder / address.path.lstrip("/")
                if self.fails("file"):
                    return
                signed = parse_qs(address.query).get("sig") == [catalogue.token]
                refused = catalogue.token is not None and not signed
                if refused or not path.is_file():
                    self.send_response(403 if refused else 404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content = path.read_bytes()
                span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                first, last = 0, len(content) - 1
                if span:
                    first, last = int(span[1]), min(int(span[2] or last), last)
                    with catalogue.lock:
                        catalogue.asked["range"] += 1
                part = content[first : last + 1]
                self.send_response(206 if span else 200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(part)))
                if span:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
                self.end_headers()
                if body:
                    self.wfile.write(part)

        return Handler

    def landing(self) -> dict:
        link = {
            "rel": "search",
            "method": "POST",
            "href": f"{self.url}/search",
            "type": "application/geo+json",
        }
        return {
            "type": "Catalog",
            "id": "here",
            "stac_version": "1.0.0",
            "description": "images of this test",
            "conformsTo": CONFORMS,
            "links": [link, {"rel": "self", "href": self.url}, {"rel": "root", "href": self.url}],
        }
