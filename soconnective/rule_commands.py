"""`soconnective automations export | plan | apply | test | replay`: rules as text, and the past judged anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.cli import with_appcontext

from soconnective.accounts import queries
from soconnective.automation import plan as rules
from soconnective.automation import replay as replays
from soconnective.automation.examples import failures
from soconnective.automation.rule_choice import expecting
from soconnective.automation.text import BadText, read_rules
from soconnective.automation.toml import MOST_CHARACTERS
from soconnective.core.access import Actor, acting_as
from soconnective.core.db import read_transaction, write_transaction
from soconnective.core.tenancy import acting_in

OPERATOR = Actor("system", None, "soconnective automations apply")
CHANGES = 2  # the exit code of a plan that has some
_workspace = click.option("--workspace", help="Its name or number; needed if there are several.")
_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))


def init_app(app: Flask) -> None:
    app.cli.add_command(automations)


@click.group()
def automations() -> None:
    """Rules as text, and what they would say of the past today."""


@automations.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@_workspace
@with_appcontext
def export_command(file: Path | None, workspace: str | None) -> None:
    """Write every rule to FILE, or to the screen."""
    with _inside(workspace), read_transaction():
        made = rules.export_rules()
    if file is None:
        click.echo(made.text, nl=False)
    else:
        file.write_bytes(made.text.encode())
    for name, why in made.left_out:
        click.echo(f"left out: {name}: {why}", err=True)


@automations.command("plan")
@_file
@_workspace
@click.option("--prune", is_flag=True, help="As if rules that FILE does not name were deleted.")
@with_appcontext
def plan_command(file: Path, workspace: str | None, prune: bool) -> None:
    """Say what applying FILE would change. Ends with 2 if it is anything, else with 0."""
    text = _read(file)
    with _inside(workspace), _said_plainly(), read_transaction():
        made = rules.plan(text, prune)
        _tell(made)
    for said in made.failed:
        click.echo(f"does not hold: {said}", err=True)
    sys.exit(CHANGES if made.has_changes else 0)


@automations.command("apply")
@_file
@_workspace
@click.option("--prune", is_flag=True, help="Delete the rules that FILE does not name.")
@click.option("--force", is_flag=True, help="Also when an example of a rule does not hold.")
@with_appcontext
def apply_command(file: Path, workspace: str | None, prune: bool, force: bool) -> None:
    """Change the rules to what FILE says, all in one go; rules that it does not name are left alone."""
    text = _read(file)
    with _inside(workspace), acting_as(OPERATOR), _said_plainly(), write_transaction():
        made = rules.apply(text, prune, force)
        _tell(made)


@automations.command("test")
@_file
@_workspace
@with_appcontext
def test_command(file: Path, workspace: str | None) -> None:
    """Judge the examples in FILE; nothing is changed. Ends with 1 if one does not hold."""
    text = _read(file)
    with _inside(workspace), _said_plainly(), read_transaction():
        with expecting(rules.expected_rules(text)):
            found = read_rules(text)
            failed = [
                f"{rule.place}, {said}" for rule in found for said in failures(rule.definition, rule.examples)
            ]
        if failed:
            raise BadText(failed)
    number = sum(len(rule.examples) for rule in found)
    click.echo(f"{number} examples of {len(found)} rules hold.")


@automations.command("replay")
@click.option(
    "--number", default=1000, show_default=True, help="How many of the last runs, in each workspace."
)
@with_appcontext
def replay_command(number: int) -> None:
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


def _tell(made: rules.Plan) -> None:
    for change in made.changes:
        notes = f" ({'; '.join(change.notes)})" if change.notes else ""
        click.echo(f"{change.label}: {change.name} [{change.key}]{notes}")
        if change.is_change and change.before != change.after:
            for sign, sentence in (("-", change.before), ("+", change.after)):
                if sentence:
                    click.echo(f"  {sign} {sentence}")
    click.echo(made.summary)


def _read(file: Path) -> str:
    with click.open_file(str(file), "rb") as stream:
        raw = stream.read(4 * MOST_CHARACTERS + 1)
    try:
        return str(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} is not written in UTF-8.") from None


@contextmanager
def _inside(name: str | None) -> Iterator[Any]:
    """The workspace that is meant: by name or number, or the only one."""
    every = queries.all_tenants()
    if name is None:
        found = every if len(every) == 1 else []
        problem = (
            f"Say which workspace: --workspace {' | '.join(repr(one.name) for one in every[:10]) or '…'}"
        )
    else:
        found = [one for one in every if name in (one.name, str(one.id))]
        problem = f"There is no workspace named {name}."
    if not found:
        raise click.ClickException(problem)
    with acting_in(found[0].id):
        yield found[0]


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except BadText as error:
        for problem in error.problems:
            click.echo(f"Error: {problem}", err=True)
        click.echo("Nothing was changed.", err=True)
        sys.exit(1)
