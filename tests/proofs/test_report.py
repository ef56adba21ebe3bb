"""The proofs' table tells the truth: a proof without a working control is shown, and fails a long run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.proofs.report import Report

pytest_plugins = ["pytester"]

CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--database", default="sqlite")
"""
PROVEN = """
import pytest
@pytest.mark.proof("a")
def test_a(proof):
    proof.cases, proof.faults = proof.scale(3, 30), 2
@pytest.mark.control("a")
def test_a_finds_it(): pass
"""
UNPROVEN = """
import pytest
@pytest.mark.proof("b")
def test_b(proof): proof.cases = 1
"""
BLIND = """
import pytest
@pytest.mark.proof("c")
def test_c(proof): proof.cases = 1
@pytest.mark.control("c")
def test_c_is_blind(): assert False
"""


def run(pytester: Any, source: str, *options: str) -> Any:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(source)
    pytester.makeini("[pytest]\nmarkers =\n    proof\n    control\n")
    return pytester.runpytest_inprocess("-p", "tests.proofs.report", "-p", "no:randomly", *options)


@pytest.mark.parametrize(("options", "cases"), [((), "3"), (("--long",), "30")])
def test_a_proof_with_its_control(pytester: Any, options: tuple[str, ...], cases: str) -> None:
    result = run(pytester, PROVEN, *options)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"| a | {cases} | 2 | 0 | yes (1) | *"])


@pytest.mark.parametrize("source", [UNPROVEN, BLIND])
def test_without_a_working_control_a_long_run_fails(pytester: Any, source: str) -> None:
    result = run(pytester, source, "--long")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["* | NO | *"])


def test_the_lines_come_from_workers_too(request: Any) -> None:
    assert isinstance(request.config.pluginmanager.get_plugin("proof-report"), Report) or hasattr(
        request.config, "workerinput"
    )
