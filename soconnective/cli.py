"""The `soconnective` command: serve, demo, doctor, tenants and people, the event catalogue, pruning."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from flask import Flask, current_app
from flask.cli import FlaskGroup, with_appcontext
from flask_migrate import upgrade
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from waitress import create_server

from soconnective import backup_commands, demo
from soconnective.accounts import operations, queries
from soconnective.accounts.views import setup_code
from soconnective.automation import replay as replays
from soconnective.automation import retention
from soconnective.config import BadSettings
from soconnective.core.access import ROLES
from soconnective.core.clock import is_zone
from soconnective.core.db import db, read_transaction, write_transaction
from soconnective.core.errors import Refused
from soconnective.core.formats import currencies
from soconnective.core.row_security import UnsafeRole, guarded_tables
from soconnective.core.search import reindex, searchable_models
from soconnective.core.tenancy import acting_in
from soconnective.events import event_types
from soconnective.jobs import Worker
from soconnective.postgresql_setup import setup_postgresql

STOP_SECONDS = 30.0  # for the job in hand
WAL_RESET_FIXED = (3, 51, 3)


def init_app(app: Flask) -> None:
    for command in (
        serve, worker, demo_command, doctor, tenant, user, events, prune, reindex_command, setup_postgresql,
        automations,
    ):  # fmt: skip
        app.cli.add_command(command)
    backup_commands.init_app(app)


def main() -> None:
    """The console script."""
    group = FlaskGroup(
        create_app=_build, add_version_option=False, help="SoConnective: the CRM, its database, its people."
    )
    try:
        group()
    except UnsafeRole as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _build() -> Flask:
    try:
        return import_module("soconnective").create_app()  # type: ignore[no-any-return]
    except BadSettings as error:
        raise click.ClickException(str(error)) from None


def _bring_up_to_date() -> None:
    try:
        upgrade()
    except ProgrammingError as error:
        if current_app.config["SOCONNECTIVE_OWNER_URL"] or "permission denied" not in str(error.orig):
            raise
        raise click.ClickException(
            "The tables must be made or brought up to date by their owner: set SOCONNECTIVE_OWNER_URL "
            "(`soconnective setup-postgresql` makes the roles and prints both settings)."
        ) from None


@click.command()
@click.option("--demo-if-empty", is_flag=True, help="Fill an empty database with demo data first.")
@click.option("--no-worker", is_flag=True, help="Web pages only: `soconnective worker` runs beside it.")
@with_appcontext
def serve(demo_if_empty: bool, no_worker: bool) -> None:
    """Bring the database up to date and serve the app (PORT, SOCONNECTIVE_HOST), with a worker for its jobs."""
    _bring_up_to_date()
    if demo_if_empty and demo.is_empty():
        click.echo("Making demo data …")
        demo.make()
    host, port = current_app.config["SOCONNECTIVE_HOST"], current_app.config["PORT"]
    has_users, code = queries.has_users(), ""
    is_demo = any(found.is_demo for found in queries.all_tenants())
    if not has_users:
        code = setup_code()
    db.session.remove()
    app: Any = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        server = create_server(
            app,
            host=host,
            port=port,
            threads=8,
            ident="SoConnective",
            clear_untrusted_proxy_headers=not current_app.config[
                "SOCONNECTIVE_TRUSTED_PROXIES"
            ],  # ProxyFix reads them
        )
    except OSError as error:
        raise click.ClickException(
            f"Port {port} cannot be used ({error.strerror}). Choose another one: make run PORT={port + 1}"
        ) from None
    click.echo(
        f"SoConnective runs at {current_app.config['SOCONNECTIVE_BASE_URL'] or f'http://{host}:{port}'}"
    )
    if is_demo:
        click.echo(
            "Sign in as owner@acme.example with the password demo-password "
            "(also admin@, member@, viewer@acme.example; owner@globex.example)."
        )
    if code:
        click.echo(f"Set it up there with the code {code}")
    click.echo("Ctrl-C stops it.")
    gc.collect()
    gc.freeze()  # what the start made stays for good: the collector need not walk it during requests
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a service manager sends: stop in order
    helper = Worker(app)
    thread = None if no_worker else helper.start()
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
        helper.stop()
        if thread is not None:
            thread.join(STOP_SECONDS)
        click.echo("Stopped.")


@click.command()
@with_appcontext
def worker() -> None:
    """Work on jobs and let the scheduler tick, apart from the web server. On PostgreSQL, any number of them."""
    app: Any = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    made = Worker(app)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_args: made.stop())
    click.echo(f"Worker {made.id} is at work. Ctrl-C stops it.")
    made.run()
    click.echo(f"Stopped after {made.jobs} jobs.")


@click.command("demo")
@click.option("--remove", is_flag=True, help="Delete the demo workspaces with everything in them.")
@with_appcontext
def demo_command(remove: bool) -> None:
    """Fill an empty database with the Acme and Globex workspaces, or remove them."""
    _bring_up_to_date()
    if remove:
        with write_transaction():
            number = demo.remove()
        left = [found.name for found in queries.all_tenants() if found.is_demo]
        click.echo(f"{number} demo workspaces removed." if number or left else "There is no demo data.")
        if left:
            click.echo(f"Kept, since real people work there: {', '.join(left)}.")
        return
    if not demo.is_empty():
        raise click.ClickException(
            "There are people here already. Demo data is only made in an empty database."
        )
    demo.make()
    click.echo("Demo data is there. Sign in as owner@acme.example with the password demo-password.")


@click.command()
@with_appcontext
def doctor() -> None:
    """Check settings, database, migrations, SQLite's version, and that the database can be written."""
    problems = 0

    def say(is_good: bool, message: str) -> None:
        nonlocal problems
        problems += not is_good
        click.echo(f"{'ok  ' if is_good else 'BAD '} {message}")

    say(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}")
    url = db.engine.url
    say(True, f"database {url.render_as_string(hide_password=True)}")
    if url.get_backend_name() == "sqlite":
        version = sqlite3.sqlite_version_info
        click.echo(f"ok   SQLite {sqlite3.sqlite_version}, synchronous=NORMAL, WAL")
        if version < WAL_RESET_FIXED:
            click.echo(
                "note SQLite before 3.51.3 has a rare fault when a WAL is reset while another process writes. "
                "Run one `soconnective serve` per database file, and keep backups."
            )
    else:
        guarded = {
            row[0]
            for row in db.session.execute(
                text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
            )
        }
        bare = [table.name for table in guarded_tables() if table.name not in guarded]
        say(not bare, f"row-level security is on{' except for ' + ', '.join(bare) if bare else ''}")
    try:
        with write_transaction():
            db.session.execute(
                text("INSERT INTO rate_windows (key, count, expires_at) VALUES ('doctor', 1, 0)")
            )
            db.session.execute(text("DELETE FROM rate_windows WHERE key = 'doctor'"))
        say(True, "the database can be written")
    except Exception as error:
        say(False, f"the database cannot be written: {error}")
    try:
        with current_app.test_client() as client:
            answer = client.get("/readyz").get_json()
        is_new = answer["status"] in ("ok", "jobs")
        say(is_new, "the schema is the newest" if is_new else "the schema is old: run `flask db upgrade`")
        if answer["status"] == "jobs":
            click.echo(f"note {answer['detail']}: right while the app is stopped, wrong while it runs")
    except Exception as error:
        say(False, f"the schema cannot be read: {error}")
    secret = Path(current_app.instance_path) / "secret_key"
    if not os.environ.get("SECRET_KEY") and secret.exists():
        say(secret.stat().st_mode & 0o077 == 0, "the secret key is readable by its owner only")
    if problems:
        raise SystemExit(1)


@click.group()
def tenant() -> None:
    """Workspaces."""


@tenant.command("add")
@click.argument("name")
@click.option("--currency", default="EUR", show_default=True)
@click.option("--timezone", default="UTC", show_default=True)
@with_appcontext
def tenant_add(name: str, currency: str, timezone: str) -> None:
    """Add a workspace NAME with one pipeline."""
    if not is_zone(timezone):
        raise click.BadParameter("is no IANA time zone, like Europe/Madrid", param_hint="--timezone")
    if currency not in dict(currencies()):
        raise click.BadParameter("is no currency code, like EUR", param_hint="--currency")
    with write_transaction():
        made = operations.create_tenant(name, currency, timezone)
        for prepare in current_app.extensions.get("soconnective.new_workspace", ()):
            prepare(made.id)
        made_id = made.id
    click.echo(f"Workspace {made_id}: {name}")


@click.group()
def user() -> None:
    """People."""


@user.command("add")
@click.argument("email")
@click.option("--name", required=True)
@click.option("--tenant", "tenant_name", required=True, help="The workspace's name.")
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True)
@click.password_option()
@with_appcontext
def user_add(email: str, name: str, tenant_name: str, role: str, password: str) -> None:
    """Add a person with EMAIL to a workspace; somebody who exists only joins it."""
    try:
        with write_transaction():
            workspace = queries.tenant_named(tenant_name)
            if workspace is None:
                raise click.ClickException(f"There is no workspace named {tenant_name}.")
            person = queries.get_user_by_email(email) or operations.add_user(email, name, password)
            with acting_in(workspace.id):
                operations.add_member(workspace, person, role)
    except Refused as refused:
        raise click.ClickException(refused.message) from None
    click.echo(f"{email} is {role} of {tenant_name}.")


@user.command("reset-password")
@click.argument("email")
@click.password_option()
@with_appcontext
def user_reset_password(email: str, password: str) -> None:
    """Give the person with EMAIL a new password; all their sessions end."""
    try:
        with write_transaction():
            person = queries.get_user_by_email(email)
            if person is None:
                raise click.ClickException(f"Nobody has the address {email}.")
            operations.set_password(person, password)
    except Refused as refused:
        raise click.ClickException(refused.message) from None
    click.echo("The password is changed.")


@click.command()
@with_appcontext
def events() -> None:
    """Print the catalogue: every event, when it is sent, and when it is not."""
    for name, kind in event_types().items():
        click.echo(f"{name}\n  sent: {kind.sent_when}\n  not:  {kind.not_when}")


@click.command()
@with_appcontext
def prune() -> None:
    """Delete runs that are older than their outcome is kept."""
    counts: Counter[str] = Counter()
    for found in [workspace.id for workspace in queries.all_tenants()]:
        with acting_in(found):
            counts.update(retention.prune())
    for outcome, number in counts.items():
        click.echo(f"{number} {outcome} runs deleted")


@click.group()
def automations() -> None:
    """Rules."""


@automations.command("replay")
@click.option(
    "--number", default=1000, show_default=True, help="How many of the last runs, in each workspace."
)
@with_appcontext
def automations_replay(number: int) -> None:
    """Judge the last runs of the live rules anew, without effects, and print what comes out otherwise."""
    different = 0
    with read_transaction():
        workspaces = [(found.id, found.name) for found in queries.all_tenants()]
    for tenant_id, name in workspaces:
        with acting_in(tenant_id):
            count, found = replays.replay(number)
        for one in found:
            click.echo(f"{name}: run {one.run_id} of {one.name}\n  then: {one.then}\n  now:  {one.now}")
        click.echo(f"{name}: {count} runs judged anew, {len(found)} come out otherwise")
        different += len(found)
    if different:
        raise SystemExit(1)


@click.command("reindex")
@with_appcontext
def reindex_command() -> None:
    """Write the search words of every record anew (after an upgrade that finds records by more)."""
    for found in [workspace.id for workspace in queries.all_tenants()]:
        for model in searchable_models():
            with acting_in(found), write_transaction():
                number = reindex(db.session(), model)
            click.echo(f"workspace {found}: {number} {model.__name__.lower()} rows")
