"""The second factor: switched on with a code, asked for at sign-in, each code once, recovery, limits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from soconnective.core import clock
from tests.workspaces import PASSWORD, Person

SETUP = "/dashboard/settings/two-factor"


class Phone:
    """The authenticator app: reads the key from the page and shows the code of a moment."""

    def __init__(self, page: str) -> None:
        from passlib.totp import TOTP

        self.totp = TOTP(key=re.search(r"<code>([A-Z0-9 -]+)</code>", page)[1])  # type: ignore[index]

    def code(self, steps_from_now: int = 0) -> str:
        import time

        return str(self.totp.generate(time=time.time() + 30 * steps_from_now).token)


def switch_on(client: Any) -> Phone:
    page = client.post(SETUP, data={"setup": "authenticator"}).text
    phone = Phone(page)
    target = re.search(rf'action="({SETUP}/[^"]+)"', page)[1]  # type: ignore[index]
    answer = client.post(target, data={"code": phone.code(-1)})
    assert answer.headers["Location"] == "/dashboard/settings/account", answer.text
    assert "The second factor is on." in client.get("/dashboard/settings/account").text
    return phone


def half_in(app: Flask, person: Person) -> Any:
    """Somebody who gave the right password and is now asked for the code."""
    client = app.test_client()
    answer = client.post("/login", data={"email": person.email, "password": PASSWORD})
    assert answer.headers["Location"].startswith("/login/code")
    return client


def test_a_wrong_code_switches_nothing_on_and_says_so(owner: Any) -> None:
    page = owner.post(SETUP, data={"setup": "authenticator"}).text
    target = re.search(rf'action="({SETUP}/[^"]+)"', page)[1]  # type: ignore[index]
    owner.post(target, data={"code": "000000"})
    page = owner.get(SETUP).text
    assert "This code is wrong" in page and "Switch it on" in page


def test_with_it_the_password_alone_leads_nowhere(app: Flask, team: Any, owner: Any) -> None:
    phone = switch_on(owner)
    client = half_in(app, team.owner)
    assert client.get("/dashboard").status_code == 302
    assert "This code is wrong" in client.post("/login/code", data={"code": "123456"}).text
    assert client.post("/login/code", data={"code": phone.code()}).headers["Location"] == "/dashboard"
    assert client.get("/dashboard").status_code == 200


def test_a_code_works_once(app: Flask, team: Any, owner: Any) -> None:
    phone = switch_on(owner)
    code = phone.code()
    assert half_in(app, team.owner).post("/login/code", data={"code": code}).status_code == 302
    answer = half_in(app, team.owner).post("/login/code", data={"code": code})
    assert answer.status_code == 200 and "used before" in answer.text


def test_a_recovery_code_works_once(app: Flask, team: Any, owner: Any) -> None:
    switch_on(owner)
    assert "There are none yet" in owner.get("/dashboard/settings/recovery-codes?show_codes=yes").text
    page = owner.post("/dashboard/settings/recovery-codes").text
    codes = re.findall(r"<code>([\w-]+)</code>", page)
    assert len(codes) == 5
    assert codes[0] not in owner.get("/dashboard/settings/recovery-codes").text
    assert codes[0] in owner.get("/dashboard/settings/recovery-codes?show_codes=yes").text
    first = half_in(app, team.owner)
    assert first.post("/login/recovery", data={"code": codes[0]}).headers["Location"] == "/dashboard"
    second = half_in(app, team.owner)
    assert "not one of your unused" in second.post("/login/recovery", data={"code": codes[0]}).text


def test_it_can_be_switched_off(app: Flask, team: Any, owner: Any) -> None:
    switch_on(owner)
    assert owner.post(SETUP, data={"setup": "disable"}).status_code == 302
    assert "Switch it on" in owner.get(SETUP).text
    answer = app.test_client().post("/login", data={"email": team.owner.email, "password": PASSWORD})
    assert answer.headers["Location"] == "/dashboard"


@pytest.mark.parametrize("address", ["/login/code", "/login/recovery"])
def test_guessing_codes_is_limited_for_each_person(app: Flask, team: Any, owner: Any, address: str) -> None:
    switch_on(owner)
    client = half_in(app, team.owner)
    codes = [client.post(address, data={"code": f"{n:06}"}).status_code for n in range(12)]
    assert codes == [200] * 9 + [429] * 3  # switching it on was the first try
    other = app.test_client().post("/login", data={"email": team.member.email, "password": PASSWORD})
    assert other.status_code == 302


@pytest.mark.parametrize("address", ["/login/rescue", "/tf-select"])
def test_pages_of_the_library_that_we_do_not_offer_are_gone(app: Flask, team: Any, address: str) -> None:
    assert app.test_client().get(address).status_code == 404
    assert app.test_client().post(address, data={"help_setup": "help"}).status_code == 404


def test_an_old_sign_in_must_be_renewed_first(owner: Any) -> None:
    with owner.session_transaction() as session:
        session["fs_paa"] = clock.now().timestamp() - 60 * 60 * 24 * 3
        session.pop("fs_gexp", None)
    sent = owner.post(SETUP, data={"setup": "authenticator"})
    assert sent.status_code == 302 and "/verify" in sent.headers["Location"]
    answer = owner.post(sent.headers["Location"], data={"password": PASSWORD})
    assert answer.status_code == 302 and SETUP in answer.headers["Location"]
