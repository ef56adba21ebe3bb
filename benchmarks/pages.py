"""What pages cost under the real server: lists of ten thousand and a million contacts, records with a history.

    .venv/bin/python benchmarks/pages.py [--database sqlite|postgresql] [--sizes 10000,1000000] [--number 60]

Waitress serves the app in a process of its own; this one asks over a kept-alive connection, signed in,
one request after the other. A JSON line per page, then a table: median and p95 in milliseconds, bytes,
database statements, and how much slower the same page is at the larger size. At the end: how long
`soconnective serve` takes from its start to the first answer.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Response, g, request
from harness import Databases, median, p95, say, table, working_in
from sqlalchemy import event, insert
from waitress import create_server

from soconnective import create_app
from soconnective.contacts.models import Contact, ContactIdentity
from soconnective.core.db import db, write_transaction
from soconnective.core.search import normalise, words_table
from soconnective.deals.operations import create_deal
from soconnective.demo.names import FIRST, LAST
from soconnective.timeline.operations import write_note
from tests.databases import settings_for
from tests.workspaces import PASSWORD, Team

COLUMNS = ("page", "rows", "median", "p95", "bytes", "statements", "factor")
BATCH = 20_000


def fill(team: Team, number: int) -> tuple[int, int]:
    """`number` contacts with an address each, and a deal with 500 entries; (contact id, deal id)."""
    began = datetime(2024, 1, 1, tzinfo=UTC)
    for start in range(1, number + 1, BATCH):
        ids = range(start, min(start + BATCH, number + 1))
        names = {n: (FIRST[n % len(FIRST)], f"{LAST[n // 7 % len(LAST)]}{n}") for n in ids}
        people = [
            {
                "id": n, "tenant_id": team.id, "first_name": names[n][0], "last_name": names[n][1],
                "name": " ".join(names[n]), "owner_id": team.owner.id, "created_at": began + timedelta(seconds=n),
                "updated_at": began + timedelta(seconds=n), "version": 1, "created_by_kind": "person",
                "created_by_id": team.owner.id, "created_by_name": team.owner.name,
            }
            for n in ids
        ]  # fmt: skip
        addresses = [
            {"tenant_id": team.id, "contact_id": n, "kind": "email", "network": "", "value": f"p{n}@x.example",
             "normalised": f"p{n}@x.example", "is_shared": False}
            for n in ids
        ]  # fmt: skip
        words = [
            {"tenant_id": team.id, "record_type": "contact", "record_id": n, "word": word}
            for n in ids
            for word in normalise(" ".join(names[n]))
        ]
        with write_transaction():
            connection = db.session.connection()
            for target, rows in (
                (Contact.__table__, people),
                (ContactIdentity.__table__, addresses),
                (words_table, words),
            ):
                connection.execute(insert(target), rows)  # type: ignore[arg-type]
    with write_transaction():
        deal_id = create_deal("Busy deal", team.stages["Lead"], contact_ids=[1]).id
    with write_transaction():
        for n in range(500):
            write_note(f"Note {n}: they asked for a call back next week.", deal_id=deal_id)
    return 1, deal_id


def _serve(url: str, port: int) -> None:
    """The server's process: the app as it is, with the number of statements in a header."""
    cheap = {"SECURITY_PASSWORD_HASH": "plaintext", "SECURITY_PASSWORD_SCHEMES": ["plaintext"]}
    app = create_app(settings_for(url) | cheap)
    with app.app_context():

        @event.listens_for(db.engine, "before_cursor_execute")
        def _count(*_args: Any) -> None:
            if request:
                g.statements = g.get("statements", 0) + 1

    @app.after_request
    def _tell(response: Response) -> Response:
        response.headers["X-Statements"] = str(g.get("statements", 0))
        return response

    create_server(app, host="127.0.0.1", port=port, threads=8).run()


class Client:
    """A signed-in browser without the drawing."""

    def __init__(self, port: int) -> None:
        self.port, self.cookies = port, {}  # type: ignore[var-annotated]
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                self.connection.connect()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[int, bytes, Any]:
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(
            "POST" if form is not None else "GET", path, urlencode(form or {}) or None, headers
        )
        response = self.connection.getresponse()
        body = response.read()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return response.status, body, response.headers

    def sign_in(self, email: str) -> None:
        token = re.search(rb'name="csrf_token" value="([^"]+)"', self.ask("/login")[1])[1].decode()  # type: ignore[index]
        status, _body, _headers = self.ask(
            "/login", {"email": email, "password": PASSWORD, "csrf_token": token}
        )
        assert status == 302, status

    def walk(self, path: str, pages: int) -> str:
        """The address of a later page of a list, by following its links."""
        for _ in range(pages - 1):
            found = re.search(rb'rel="next" href="([^"]+)"', self.ask(path)[1]) or abort(path)
            path = found[1].decode().replace("&amp;", "&")
        return path


def abort(path: str) -> Any:
    raise SystemExit(f"{path} has no next page")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def measure(databases: Databases, size: int, number: int) -> list[dict[str, Any]]:
    url = databases.fresh()
    with working_in(url) as team:
        contact, deal = fill(team, size)
        email = team.owner.email
    databases.analyze(url)
    port = free_port()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(url, port))
    server.start()
    try:
        client = Client(port)
        client.sign_in(email)
        pages = {
            "contacts, first page": "/dashboard/contacts",
            "contacts, page 100": client.walk("/dashboard/contacts", 100),
            "contacts, a search that hits": "/dashboard/contacts?q=ana",
            "contacts, a search that misses": "/dashboard/contacts?q=zzqx",
            "a contact": f"/dashboard/contacts/{contact}",
            "a deal with 500 entries": f"/dashboard/deals/{deal}",
            "deals": "/dashboard/deals",
            "home": "/dashboard",
        }
        lines = []
        for name, path in pages.items():
            times = []
            for turn in range(number + 5):
                began = time.perf_counter()
                status, body, headers = client.ask(path)
                if turn >= 5:
                    times.append((time.perf_counter() - began) * 1000)
                assert status == 200, (path, status)
            lines.append({
                "page": name, "database": databases.kind, "rows": size, "median": median(times), "p95": p95(times),
                "bytes": len(body), "statements": int(headers["X-Statements"]),
            })  # fmt: skip
            say(lines[-1])
    finally:
        server.terminate()
        server.join(10)
        databases.discard(url)
    return lines


def start_time(databases: Databases) -> float:
    """Milliseconds from starting the command to the first answer, on a migrated database; the best of three."""
    url = databases.fresh()
    found = []
    for _ in range(3):
        port = free_port()
        environment = os.environ | settings_for(url) | {"PORT": str(port), "TESTING": ""}
        began = time.perf_counter()
        command = [str(Path(sys.executable).parent / "soconnective"), "serve"]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            client = Client(port)
            assert client.ask("/healthz")[0] == 200
            found.append((time.perf_counter() - began) * 1000)
            server.terminate()
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--sizes", default="10000,1000000")
    parser.add_argument("--number", type=int, default=60)
    options = parser.parse_args()
    databases, lines = Databases(options.database), []
    try:
        for size in map(int, options.sizes.split(",")):
            lines += measure(databases, size, options.number)
        small = {line["page"]: line["median"] for line in reversed(lines)}
        for line in lines:
            line["factor"] = line["median"] / small[line["page"]]
        table(lines, COLUMNS)
        say(
            {
                "case": "from start to the first answer",
                "database": options.database,
                "milliseconds": start_time(databases),
            }
        )
    finally:
        databases.close()


if __name__ == "__main__":
    main()
