"""Showing the HTML of a mail on a page of ours: in a frame that may do nothing.

The frame (`_bits.html`) is sandboxed and holds the whole mail in itself. It inherits the page's policy: no script,
and no image from the web, so that whoever looks at a mail here is not counted as its reader. Only the style
attributes of the mail, which are on the allow-list of `markup`, need a word more.
"""

from __future__ import annotations

from flask import Response, make_response

from soconnective.core.web import policy

STYLES = "style-src-attr 'unsafe-inline'"


def with_frame(page: str) -> Response:
    """An answer whose frames may set styles at their tags."""
    response = make_response(page)
    response.headers["Content-Security-Policy"] = policy(STYLES)
    return response
