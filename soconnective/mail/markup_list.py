"""What may stand in the HTML of a mail, and what is said of the rest."""

from __future__ import annotations

VOID = frozenset({"br", "hr", "img"})
_BLOCK = frozenset({"align"})
_CELL = frozenset({"align", "valign", "width", "height", "bgcolor", "colspan", "rowspan"})
# tag -> its own attributes; none of them can load or start anything but `href` and `src`
ATTRIBUTES: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("b", "strong", "i", "em", "u", "s", "small", "sub", "sup", "span", "code", "pre", "blockquote", "center",
         "ul", "li", "thead", "tbody", "tfoot", "caption", "br"),
        frozenset(),
    ),
    **dict.fromkeys(("p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "hr"), _BLOCK),
    "ol": frozenset({"start"}),
    "a": frozenset({"href"}),
    "font": frozenset({"color", "face", "size"}),
    "img": frozenset({"src", "alt", "width", "height", "align"}),
    "table": frozenset({"width", "height", "align", "border", "cellpadding", "cellspacing", "bgcolor", "role"}),
    "tr": frozenset({"align", "valign", "bgcolor"}),
    "td": _CELL,
    "th": _CELL,
}  # fmt: skip
EVERYWHERE = frozenset({"style", "title", "dir", "lang"})
STYLES = frozenset(
    {"color", "background-color", "font-family", "font-size", "font-style", "font-weight", "line-height", "text-align",
     "text-decoration", "vertical-align", "width", "max-width", "height", "border", "border-top", "border-bottom",
     "border-collapse", "border-radius", "padding", "padding-top", "padding-bottom", "padding-left", "padding-right",
     "margin", "margin-top", "margin-bottom"}
)  # fmt: skip
_BODY = "Leave out <!doctype>, <html>, <head>, <title> and <body>: write only what stands inside the body."
# what people paste, and what to do about it: tags and attributes
WORDS = {
    **dict.fromkeys(("html", "head", "body", "title", "meta", "!doctype"), _BODY),
    "!--": "A comment is never closed: it ends with -->.",
    "script": "A script is never sent: mail programs refuse it. Leave <script> out.",
    "style": 'A mail has no style sheet here. Write style="…" at the tag.',
    "link": 'A mail has no style sheet here. Write style="…" at the tag.',
    "img": "Images are not allowed in this HTML. If they are meant, mark “Images from the web” in a template.",
    "class": 'class means nothing without a style sheet. Write style="…" instead.',
    "id": "id means nothing in a mail. Leave it out.",
}  # fmt: skip
# what a value should be that is none
VALUES = {
    "style": f"style may set {', '.join(sorted(STYLES))}, to plain values like #1f6feb or 12px.",
    "href": "A link leads to https://, http:// or mailto:.",
    "src": "The address of an image begins with https://.",
}
