"""What each proof found, as a table that a visitor can read.

A proof is every test with `@pytest.mark.proof("name")`: it says through the `proof` fixture how many
cases it tried, how many of them held a planted fault, and what it found wrong (which must be nothing).
A control is a test with `@pytest.mark.control("name")`: it plants the defect that the proof of that
name must find, and passes only if it was found. A proof without a control that passed fails the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

HEAD = ("proof", "cases", "faults", "found", "control found its planted defect", "seconds")


@dataclass
class Proof:
    """One test's contribution to its proof."""

    name: str
    is_long: bool
    cases: int = 0
    faults: int = 0
    found: int = 0

    def scale(self, short: int, long: int) -> int:
        """How many to try in this run's form."""
        return long if self.is_long else short


@dataclass
class Line:
    """A proof's row of the table."""

    name: str
    cases: int = 0
    faults: int = 0
    found: int = 0
    controls: int = 0
    blind: int = 0  # controls whose planted defect was not found
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        return f"yes ({self.controls})" if self.controls and not self.blind else "NO"


class Report:
    """Collects the lines in the process that leads the run; xdist's workers send theirs with their results."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.lines: dict[str, Line] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = dict(report.user_properties)
        name = said.get("proof") or said.get("control")
        if name is None:
            return
        line = self.lines.setdefault(str(name), Line(str(name)))
        line.seconds += report.duration
        if report.when == "setup" and report.failed:
            line.blind += "control" in said
            line.found += "proof" in said
        if report.when == "call" and "control" in said:
            line.controls += 1
            line.blind += not report.passed
        elif report.when == "call":
            line.found += report.failed
        elif report.when == "teardown" and "proof" in said:  # by now the fixture has said its part
            told = json.loads(str(said.get("told", "{}")))
            line.cases += told.get("cases", 0)
            line.faults += told.get("faults", 0)
            line.found += told.get("found", 0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.lines:
            return
        terminalreporter.section(f"proofs on {self.config.option.database}")
        for row in self.table():
            terminalreporter.line(row)
        if place := self.config.option.proof_report:
            Path(place).write_text(json.dumps([asdict(line) for line in self.lines.values()]))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A long run vouches for its proofs, so each of them needs a control that saw its defect."""
        if self.config.option.long and any(line.verdict == "NO" for line in self.lines.values()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def table(self) -> list[str]:
        """The lines as Markdown."""
        rows = [HEAD, tuple("---" for _ in HEAD)]
        rows += [
            (one.name, f"{one.cases:,}", f"{one.faults:,}", str(one.found), one.verdict, f"{one.seconds:.0f}")
            for one in sorted(self.lines.values(), key=lambda one: one.name)
        ]
        return ["| " + " | ".join(row) + " |" for row in rows]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the proofs in their long form")
    parser.addoption("--proof-report", default="", metavar="FILE", help="write the proofs' figures as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Report(config), "proof-report")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for kind in ("proof", "control"):
        marker = item.get_closest_marker(kind)
        if marker is not None:
            item.user_properties.append((kind, marker.args[0]))


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Iterator[Proof]:
    """This test's part of its proof: count in `cases`, `faults` and `found`; `scale(short, long)` says how much."""
    marker = request.node.get_closest_marker("proof") or request.node.get_closest_marker("control")
    told = Proof(marker.args[0], bool(request.config.option.long))
    yield told
    request.node.user_properties.append(("told", json.dumps(asdict(told))))
