"""What every test may ask for: a clean database on the dialect of this run, the app on it, a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings

from tests.databases import NoServer, PostgresDatabases, Run, SqliteDatabases, join
from tests.lending import Lender

pytest_plugins = ["tests.workspaces", "tests.proofs.report", "tests.tap"]
_run = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="what to run the tests on"
    )


def pytest_configure(config: pytest.Config) -> None:
    """What hypothesis draws: the same each time, so that who did not break it does not see it fail; new in the long form."""
    settings.register_profile("the same", derandomize=True)
    if not config.option.long:
        settings.load_profile("the same")


@pytest.hookimpl(tryfirst=True)  # before xdist starts its workers
def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    try:
        config.stash[_run] = Run(config.option.database)
    except NoServer as problem:  # asked for by name: never a skip
        raise pytest.UsageError(str(problem)) from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["run"] = node.config.stash[_run].place


def pytest_unconfigure(config: pytest.Config) -> None:
    if _run in config.stash:
        config.stash[_run].close()


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[SqliteDatabases | PostgresDatabases]:
    """This worker's databases: `empty()` gives one without tables, `fresh()` one with the schema."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput:
        found = join(workerinput["run"], workerinput["workerid"])
    else:
        found = join(request.config.stash[_run].place, "main")
    yield found
    found.close()


@pytest.fixture(scope="session")
def lender(databases: SqliteDatabases | PostgresDatabases) -> Iterator[Lender]:
    lender = Lender(databases.spared)
    yield lender
    lender.close()


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest, databases: SqliteDatabases | PostgresDatabases
) -> Iterator[str]:
    """A database with the schema, for this test alone; without a row, unless the test asks for the team."""
    wants_team = "team" in request.fixturenames
    if wants_team:
        request.getfixturevalue("kept_team")
    url = databases.fresh(kept=wants_team)
    yield url
    databases.discard(url)


@pytest.fixture
def app(database_url: str, lender: Lender) -> Iterator[Flask]:
    """The app on this test's database; no context is pushed, as requests would share its `g`."""
    app = lender.lend(database_url)
    yield app
    lender.take_back(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.config.option.database)
