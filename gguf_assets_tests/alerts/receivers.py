"""Real receivers on this machine: HTTP servers that obey, refuse, hang or drip, and GitHub's routes."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A running server.

    Attributes:
        url: `http://127.0.0.1:port`.
        requests: what arrived, in order.
    """

    url: str = ""
    requests: list[Request] = field(default_factory=list)


Answer = Callable[[BaseHTTPRequestHandler, Request], None]


@contextmanager
def receiving(answer: Answer) -> Iterator[Receiver]:
    """Run a server that answers every request in the given way."""
    receiver = Receiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            receiver.requests.append(request)
            self.over = over
            answer(self, request)

        do_GET = do_POST = do_PATCH = do_CONNECT = handle_one

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answering(status: int, body: bytes = b"ok", **headers: str) -> Answer:
    """Answer at once."""

    def answer(handler: BaseHTTPRequestHandler, request: Request) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hanging(handler: Any, request: Request) -> None:
    """Never answer, until the test is over."""
    handler.over.wait(60)
    handler.close_connection = True


def dripping(handler: Any, request: Request) -> None:
    """Answer well, and send the body byte by byte for as long as somebody reads."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.close_connection = True
    while not handler.over.wait(0.02):
        try:
            handler.wfile.write(b".")
        except OSError:
            return


class GitHub:
    """What GitHub does with issues, as far as the REST routes for them show it.

    Attributes:
        issues: by number, as GitHub shows them.
        comments: by number, texts in order.
        refuse: status, headers and message of every answer, None to behave.
        fail_on: (method, part of the path) that is answered 502.
        page_size: issues on a page.
        token: the only one that is accepted.
    """

    def __init__(self, repository: str, token: str) -> None:
        self.repository = repository
        self.token = token
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, list[str]] = {}
        self.refuse: tuple[int, dict[str, str], str] | None = None
        self.fail_on: tuple[str, str] | None = None
        self.page_size = 100
        self.keeps_labels = True
        self.url = ""
        self._lock = threading.Lock()

    def add(self, body: str, *, labels: list[str], state: str = "open", **more: Any) -> int:
        number = len(self.issues) + 1
        self.issues[number] = {
            "number": number,
            "title": more.pop("title", "an issue"),
            "body": body,
            "state": state,
            "labels": [{"name": name} for name in labels],
            "url": f"{self.url}/repos/{self.repository}/issues/{number}",
            **more,
        }
        self.comments[number] = []
        return number

    def open_issues(self) -> list[dict[str, Any]]:
        return [issue for issue in self.issues.values() if issue["state"] == "open"]

    def __call__(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        with self._lock:
            status, headers, document = self._answer(request)
        body = json.dumps(document).encode()
        answering(status, body, **{"Content-Type": "application/json"}, **headers)(handler, request)

    def _answer(self, request: Request) -> tuple[int, dict[str, str], Any]:
        parts = urlsplit(request.path)
        if self.refuse is not None:
            status, headers, message = self.refuse
            return status, headers, {"message": message}
        if self.fail_on and request.method == self.fail_on[0] and self.fail_on[1] in parts.path:
            return 502, {}, {"message": "Bad gateway"}
        if request.headers.get("authorization") != f"token {self.token}":
            return 401, {}, {"message": "Bad credentials"}
        match = re.fullmatch(
            rf"/repos/{re.escape(self.repository)}/issues(?:/(\d+)(/comments)?)?", parts.path
        )
        if match is None:
            return 404, {}, {"message": "Not Found"}
        if match[1] is None:
            return self._list(parts.query) if request.method == "GET" else self._create(request.document)
        number = int(match[1])
        if match[2]:
            self.comments[number].append(request.document["body"])
            return 201, {}, {"id": 1, "body": request.document["body"]}
        self.issues[number].update(request.document)
        return 200, {}, self.issues[number]

    def _create(self, document: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        labels = document.get("labels", []) if self.keeps_labels else []
        number = self.add(document["body"], labels=labels, title=document["title"])
        return 201, {}, self.issues[number]

    def _list(self, query: str) -> tuple[int, dict[str, str], Any]:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        wanted = set(asked["labels"].split(",")) if "labels" in asked else set()
        found = [
            issue
            for issue in self.issues.values()
            if asked.get("state", "open") in ("all", issue["state"])
            and wanted <= {label["name"] for label in issue["labels"]}
        ]
        found.reverse()  # the newest first, as GitHub does it
        page, size = int(asked.get("page", 1)), min(int(asked.get("per_page", 30)), self.page_size)
        headers = {}
        if page * size < len(found):
            path = f"{self.url}/repos/{self.repository}/issues"
            rest = "&".join(f"{name}={value}" for name, value in asked.items() if name != "page")
            headers["Link"] = f'<{path}?{rest}&page={page + 1}>; rel="next"'
        return 200, headers, found[(page - 1) * size : page * size]


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the context of a server that only its own certificate vouches for, as `localhost`, and that."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
