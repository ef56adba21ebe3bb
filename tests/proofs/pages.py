"""The forms of a page as a browser would send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class PageForm:
    """A form that posts: where to, and its fields with their values."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def data(self, **values: Any) -> dict[str, Any]:
        """What is sent when some fields are typed into."""
        sent: dict[str, Any] = {}
        for name, value in self.fields:
            sent.setdefault(name, []).append(value)
        return {**sent, **values}


class _Reader(HTMLParser):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.forms, self.open, self.area, self.select = path, [], None, None, None  # type: ignore[var-annotated]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.open = (
                PageForm(said.get("action") or self.path)
                if said.get("method", "").lower() == "post"
                else None
            )
            if self.open:
                self.forms.append(self.open)
        elif self.open is None:
            return
        elif tag == "input" and said.get("name") and said.get("type") not in ("submit", "file"):
            if said.get("type") not in ("checkbox", "radio") or "checked" in said:
                self.open.fields.append(
                    (said["name"], said.get("value", "on" if said.get("type") == "checkbox" else ""))
                )
        elif tag == "select":
            self.select = said.get("name")
        elif tag == "option" and self.select and "selected" in said:
            self.open.fields.append((self.select, said.get("value", "")))
        elif tag == "textarea" and said.get("name"):
            self.area = said["name"]
            self.open.fields.append((self.area, ""))

    def handle_data(self, data: str) -> None:
        if self.open is not None and self.area:
            name, before = self.open.fields[-1]
            self.open.fields[-1] = (name, before + data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.open = None
        elif tag == "select":
            self.select = None
        elif tag == "textarea":
            self.area = None


def forms_of(html: str, path: str) -> list[PageForm]:
    """Every posting form of the page at `path`, in order."""
    reader = _Reader(path)
    reader.feed(html)
    return reader.forms  # type: ignore[no-any-return]


def form_to(html: str, path: str, action: str | None = None) -> PageForm:
    """The form of the page that posts to `action` (default: to the page itself)."""
    return next(
        form for form in forms_of(html, path) if form.action.split("?")[0] == (action or path).split("?")[0]
    )
