"""A form that was opened before its person signed out or in again: what was typed is kept, and can be sent after all.

Its token is of a session that is no more. Whether the post came from a page of ours says the `Origin` that browsers
send with each post: only then is the form offered again, with a token of the present session, and one press sends it.
Another site cannot bring it about, and what holds a password is not written into a page.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import current_app, render_template, request

NOT_TYPED = {"csrf_token", "workspace", "form_key", "version"}
SIGNS_IN = "security"  # whose forms hold codes that are as good as passwords


def is_from_here() -> bool:
    """Whether the post came from a page of this address, its scheme included: http:// of the same host is another site.

    Browsers that do not say so get no offer, nor does what a proxy encrypts that nobody told us of.
    """
    base = urlsplit(str(current_app.config["SOCONNECTIVE_BASE_URL"]))
    return request.headers.get("Origin") == f"{base.scheme or request.scheme}://{request.host}"


def offer() -> str | None:
    """The page that offers to send the form again, or None if this one is not offered."""
    fields = [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]
    names = {name for name, _value in fields}
    is_offered = (
        is_from_here()
        and request.url_rule is not None
        and request.blueprint != SIGNS_IN
        and len(fields) <= current_app.config["MAX_FORM_PARTS"]  # each becomes a line of the page
        and names > (names & NOT_TYPED)
        and not any("password" in name for name in names)
        and not request.files
    )
    if not is_offered:
        return None
    return render_template("errors/late.html", fields=fields, address=request.full_path.rstrip("?"))
