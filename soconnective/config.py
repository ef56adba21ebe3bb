"""Settings: read from the environment once, each documented here and in the README.

| name | default | meaning |
| --- | --- | --- |
| DATABASE_URL | the embedded SQLite file | where the data lives; postgresql://... for PostgreSQL |
| SOCONNECTIVE_OWNER_URL | (none) | PostgreSQL: the tables' owner, used by migrations and backups alone; DATABASE_URL is then a plain role |
| SECRET_KEY | made once, kept in instance/secret_key | signs sessions and forms |
| PORT | 5000 | where `serve` listens |
| SOCONNECTIVE_HOST | 127.0.0.1 | the address that `serve` binds |
| SOCONNECTIVE_BASE_URL | (none) | the address people use; https switches on Secure cookies and HSTS; other Hosts answer 400 |
| SOCONNECTIVE_TRUSTED_PROXIES | 0 | how many reverse proxies stand in front and set X-Forwarded-For, -Proto and -Host |
| SOCONNECTIVE_INSTANCE | instance/ in the checkout | the folder of the embedded database and the secret key |
| SOCONNECTIVE_KEEP_SUCCEEDED_DAYS, _NOT_MATCHED_DAYS, _FAILED_DAYS, _SKIPPED_DAYS | 90, 14, 365, 90 | how long runs of each outcome are kept by `soconnective prune` |
| SOCONNECTIVE_MAIL_INSIDE | 0 | 1: mail accounts may name servers of this machine, of the local network, and any port |
| SOCONNECTIVE_MAIL_PER_ADDRESS, _MAIL_PER_ADDRESS_DAY | 5, 20 | automatic mails to one address in 2 hours, and in 24 hours, at most |
| SOCONNECTIVE_RULE_DEPTH, _RULE_RUNS, _RULE_ACTIONS, _RULE_SECONDS | 8, 200, 500, 2 | the bounds of one chain of rules |
| SOCONNECTIVE_WEBHOOK_ALLOW | (none) | inside addresses that webhooks may call: host:port or networks, by commas |
| SOCONNECTIVE_BREAKER_PER_MINUTE, _BREAKER_PER_RECORD, _BREAKER_FAILURES | 300, 30, 10 | a rule that runs more often within a minute, or for one record, or fails so often in a row, is paused; 0: never |
| SOCONNECTIVE_KEEP_NOTIFICATIONS_DAYS | 90 | how long notifications are kept |
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_ROOT = Path(__file__).resolve().parent.parent


class BadSettings(RuntimeError):
    """The environment holds a setting that cannot be used; the message names it and says what it takes."""


class Settings(BaseModel):
    """Every setting with its type and bounds, checked at start."""

    model_config = ConfigDict(extra="ignore")

    DATABASE_URL: str = ""
    SOCONNECTIVE_OWNER_URL: str = ""
    SECRET_KEY: str = ""
    PORT: int = Field(5000, ge=1, le=65535)
    SOCONNECTIVE_HOST: str = "127.0.0.1"
    SOCONNECTIVE_BASE_URL: str = ""
    SOCONNECTIVE_TRUSTED_PROXIES: int = Field(0, ge=0, le=10)
    SOCONNECTIVE_KEEP_SUCCEEDED_DAYS: int = Field(90, ge=1, le=36500)
    SOCONNECTIVE_KEEP_NOT_MATCHED_DAYS: int = Field(14, ge=1, le=36500)
    SOCONNECTIVE_KEEP_FAILED_DAYS: int = Field(365, ge=1, le=36500)
    SOCONNECTIVE_KEEP_SKIPPED_DAYS: int = Field(90, ge=1, le=36500)
    SOCONNECTIVE_MAIL_INSIDE: bool = False
    SOCONNECTIVE_MAIL_PER_ADDRESS: int = Field(5, ge=1, le=1000)
    SOCONNECTIVE_MAIL_PER_ADDRESS_DAY: int = Field(20, ge=1, le=10_000)
    SOCONNECTIVE_RULE_DEPTH: int = Field(8, ge=1, le=64)
    SOCONNECTIVE_RULE_RUNS: int = Field(200, ge=1, le=100_000)
    SOCONNECTIVE_RULE_ACTIONS: int = Field(500, ge=1, le=100_000)
    SOCONNECTIVE_RULE_SECONDS: float = Field(2.0, gt=0, le=300)
    SOCONNECTIVE_WEBHOOK_ALLOW: str = ""
    SOCONNECTIVE_BREAKER_PER_MINUTE: int = Field(300, ge=0, le=1_000_000)
    SOCONNECTIVE_BREAKER_PER_RECORD: int = Field(30, ge=0, le=1_000_000)
    SOCONNECTIVE_BREAKER_FAILURES: int = Field(10, ge=0, le=1_000_000)
    SOCONNECTIVE_KEEP_NOTIFICATIONS_DAYS: int = Field(90, ge=1, le=36500)


def instance_path() -> str:
    """The folder of the embedded database and the secret key."""
    return str(Path(os.environ.get("SOCONNECTIVE_INSTANCE") or _ROOT / "instance").absolute())


def migrations_path() -> str:
    return str(_ROOT / "migrations")


def apply(app: Flask, overrides: Mapping[str, Any]) -> None:
    """Read the environment and `overrides` (which win) into ``app.config``; raises `BadSettings`."""
    wanted = {name: os.environ[name] for name in Settings.model_fields if os.environ.get(name)}
    wanted.update({name: value for name, value in overrides.items() if name in Settings.model_fields})
    try:
        settings = Settings.model_validate(wanted)
    except ValidationError as error:
        problem = error.errors()[0]
        raise BadSettings(f"{problem['loc'][0]}={problem['input']!r}: {problem['msg']}") from None
    app.config.update(settings.model_dump())
    app.config.update(overrides)
    app.config["DATABASE_URL"] = _database_url(app)
    app.config["SOCONNECTIVE_OWNER_URL"] = _owner_url(app)
    app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or _secret_key(Path(app.instance_path))
    secure = urlsplit(app.config["SOCONNECTIVE_BASE_URL"]).scheme == "https"
    app.config.update(
        SESSION_COOKIE_NAME="__Host-soconnective" if secure else "soconnective",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure,
        PERMANENT_SESSION_LIFETIME=timedelta(days=14),
        REMEMBER_COOKIE_NAME="soconnective_remember",  # no __Host-: the library deletes it without Secure
        REMEMBER_COOKIE_DURATION=timedelta(days=14),
        REMEMBER_COOKIE_HTTPONLY=True,
        REMEMBER_COOKIE_SAMESITE="Lax",
        REMEMBER_COOKIE_SECURE=secure,
        MAX_CONTENT_LENGTH=2 * 1024 * 1024,
        MAX_FORM_MEMORY_SIZE=2 * 1024 * 1024,
        MAX_FORM_PARTS=5000,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_CHECK_DEFAULT=False,
    )
    app.config.update({name: value for name, value in overrides.items() if name not in Settings.model_fields})


def _database_url(app: Flask) -> str:
    url = _with_driver(str(app.config["DATABASE_URL"]))
    if not url:
        Path(app.instance_path).mkdir(parents=True, exist_ok=True)
        return "sqlite:///" + str(Path(app.instance_path) / "soconnective.db")
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise BadSettings("DATABASE_URL: takes sqlite:///path or postgresql://user:password@host/name")
    return url


def _owner_url(app: Flask) -> str:
    """Empty on SQLite, where a file has no roles."""
    url = _with_driver(str(app.config["SOCONNECTIVE_OWNER_URL"]))
    if not url or app.config["DATABASE_URL"].startswith("sqlite"):
        return ""
    if not url.startswith("postgresql+psycopg://"):
        raise BadSettings("SOCONNECTIVE_OWNER_URL: takes postgresql://user:password@host/name")
    return url


def _with_driver(url: str) -> str:
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url[len(scheme) :]
    return url


def _secret_key(folder: Path) -> str:
    """The key kept beside the embedded database; made at the first start, readable by the owner only."""
    path = folder / "secret_key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32))
        try:
            os.link(fresh, path)  # whoever is first wins; the other reads it
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
