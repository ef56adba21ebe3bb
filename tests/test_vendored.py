"""What others wrote and we serve: its version, licence and hash are recorded, and nothing else is there."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parent.parent / "soconnective" / "static"
RECORDED = {entry["file"]: entry for entry in json.loads((STATIC / "vendor.json").read_text())}
OURS = {
    "css/soconnective.css",
    "css/lists.css",
    "css/rules.css",
    "js/app.js",
    "js/builder.js",
    "js/theme.js",
    "icons/mark.svg",
    "vendor.json",
}


def test_every_file_is_ours_or_recorded() -> None:
    there = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file()}
    licences = {entry["licence_file"] for entry in RECORDED.values()}
    assert there == OURS | set(RECORDED) | licences


@pytest.mark.parametrize("name", RECORDED)
def test_it_is_what_was_recorded(name: str) -> None:
    entry = RECORDED[name]
    assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == entry["sha256"]
    licence = (STATIC / entry["licence_file"]).read_text()
    assert len(licence) > 200 and entry["licence"] in ("MIT", "0BSD")
    assert entry["version"] in name or not name.startswith("vendor/")


def test_pages_ask_for_nothing_elsewhere() -> None:
    """No address of another machine in what is loaded: scripts, styles, templates."""
    templates = STATIC.parent / "templates"
    for path in [
        *templates.rglob("*.html"),
        STATIC / "css/soconnective.css",
        STATIC / "js/app.js",
        STATIC / "js/builder.js",
        STATIC / "js/theme.js",
    ]:
        found = re.findall(
            r"""(?:src|href|url\(|@import|fetch\()\s*=?\s*["'(]?\s*(https?:)?//""", path.read_text()
        )
        assert not found, path
    for name in RECORDED:
        text = (STATIC / name).read_text()
        assert not re.search(r"url\(\s*[\"']?https?://|@import\s+[\"']?https?:", text), name


def test_templates_hold_no_inline_script_or_style() -> None:
    for path in (STATIC.parent / "templates").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=\"|javascript:", text), path
        for tag in re.findall(r"<script[^>]*>", text):
            assert "src=" in tag and "nonce=" in tag, (path, tag)
