"""The house: imports point down, files stay small, one place commits, no bulk write on watched models."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "soconnective"
FLOORS = [
    {"core"}, {"events"}, {"jobs"}, {"automation"}, {"accounts"}, {"tags", "notifications", "webhooks", "saved_views"},
    {"mail"}, {"contacts"}, {"deals"}, {"tasks", "appointments"},
    {"timeline"}, {"inbox"}, {"dashboard", "settings"}, {"demo", "postgresql_setup", "backup_commands", "rule_commands"}, {"cli"}, {"__init__"},
]  # fmt: skip
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def files() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 80
    return found


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imports(source: str) -> list[str]:
    """The rooms of ours that `source` imports at any depth."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = (
                [node.module]
                if node.module != "soconnective"
                else [f"soconnective.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found += [name.split(".")[1] for name in names if name.startswith("soconnective.")]
    return found


def wrong(place: str, source: str) -> list[str]:
    """What `source`, standing in `place`, imports from its own floor's neighbours or from above."""
    if place == "config":
        return imports(source)
    return [
        name
        for name in imports(source)
        if name not in (place, "config") and (name not in LEVEL or LEVEL[name] >= LEVEL[place])
    ]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    assert wrong(room(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [("core", "from soconnective.deals import x"), ("tasks", "import soconnective.appointments.models"),
     ("events", "from soconnective import automation")],
)  # fmt: skip
def test_an_import_that_points_up_is_found(place: str, source: str) -> None:
    assert wrong(place, source)


def test_no_file_is_over_500_lines() -> None:
    long = [
        str(path)
        for path in [*files(), *sorted((ROOT / "tests").rglob("*.py"))]
        if len(path.read_text().splitlines()) > 500
    ]
    assert long == []


def inner_imports(source: str) -> list[int]:
    return [
        inner.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name != "create_app"
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]


def test_no_import_inside_a_function_but_in_create_app() -> None:
    assert {str(p): found for p in files() if (found := inner_imports(p.read_text()))} == {}
    assert inner_imports("def f():\n    import x\n") == [2]


COMMITS = re.compile(r"session\.(commit|rollback)\(|\.session\.begin\(")


def test_one_place_commits() -> None:
    places = {str(p.relative_to(PACKAGE)) for p in files() if COMMITS.search(p.read_text())}
    assert places <= {"core/db.py", "core/tenancy.py"}
    assert COMMITS.search("db.session.commit()")


BULK = re.compile(
    r"\b(update|delete|insert)\((Contact|Company|ContactIdentity|Deal|DealContact|Task|Appointment|AppointmentPerson|Note|ContactTag|CompanyTag|DealTag)\b"
    r"|bulk_(insert|update|save)_|\.query\([^)]*\)\.(update|delete)\("
)


def test_no_bulk_write_on_watched_models() -> None:
    assert [str(p) for p in files() if BULK.search(p.read_text())] == []
    assert BULK.search("session.execute(update(Deal).values(x=1))")


def test_nothing_is_loaded_from_elsewhere() -> None:
    pages = [
        *PACKAGE.rglob("*.html"),
        *(PACKAGE / "static" / "js").glob("*.js"),
        *(PACKAGE / "static" / "css").glob("*.css"),
    ]
    assert len(pages) > 40
    outside = re.compile(r"""(src|href|url)\s*[=(]\s*["']?https?://""")
    assert [str(p) for p in pages if outside.search(p.read_text())] == []


def test_no_inline_script_or_style() -> None:
    inline = re.compile(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", re.IGNORECASE)
    assert [str(p) for p in PACKAGE.rglob("*.html") if inline.search(p.read_text())] == []
