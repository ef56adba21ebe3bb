"""The current tenant, and the first two of the four walls between tenants.

Wall 1: every ORM statement is given `tenant_id = <current>` for each tenant-owned class it
touches, sub-selects and joins included, and raises `NoTenant` when no tenant is set. What the
criteria cannot see (the identity map, raw text, a refresh) is caught as rows are loaded.
Wall 2: the flush guard refuses a new, changed or deleted row of another tenant.
Wall 3 is the composite foreign keys of `core.model`, wall 4 PostgreSQL's row-level security.

Everywhere inside, a tenant is an integer id. Whoever holds a tenant object calls `tenant_id_of`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import bindparam, event
from sqlalchemy.orm import ORMExecuteState, QueryContext, UOWTransaction, with_loader_criteria
from sqlalchemy.orm import Session as OrmSession

from soconnective.core.db import Session, db
from soconnective.core.errors import CrossTenant, NoTenant
from soconnective.core.model import BigId, TenantOwned

_current: ContextVar[int | None] = ContextVar("current_tenant", default=None)


def tenant_id_of(tenant: Any) -> int:
    """The id of a tenant given as an id or as an object with one: the one place that unwraps."""
    value = getattr(tenant, "id", tenant)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a tenant is an id or an object with an integer id, not {tenant!r}")
    return value


def current_tenant_id() -> int:
    """The current tenant's id; raises `NoTenant` when none is set."""
    tenant_id = _current.get()
    if tenant_id is None:
        raise NoTenant("no tenant is set: sign in to a workspace, or name one with acting_in()")
    return tenant_id


def has_tenant() -> bool:
    return _current.get() is not None


def peek_tenant() -> int | None:
    """The current tenant's id, or None."""
    return _current.get()


def enter_tenant(tenant: Any | None) -> None:
    """Set the tenant for the rest of this context (a request). `None` leaves it."""
    _current.set(None if tenant is None else tenant_id_of(tenant))


@contextmanager
def acting_in(tenant: Any) -> Iterator[int]:
    """Work inside `tenant` (a command, a job, a test), then return to the tenant before it.

    The session must hold no unsaved change when the tenant changes; loaded rows of the other
    tenant are let go, since the identity map hands them out without a statement.
    """
    tenant_id = tenant_id_of(tenant)
    previous = _current.get()
    _change(previous, tenant_id)
    token = _current.set(tenant_id)
    try:
        yield tenant_id
    finally:
        try:
            _change(tenant_id, previous)
        finally:
            _current.reset(token)


def _change(old: int | None, new: int | None) -> None:
    if old == new or not db.session.registry.has():
        return
    session = db.session()
    if session.new or session.deleted or any(session.is_modified(row) for row in session.dirty):
        if new is None:  # leaving after an error: what was not saved is dropped
            session.rollback()
            return
        raise CrossTenant("the tenant changed while rows of another one were unsaved")
    session.expunge_all()


_owned_by_current = bindparam("current_tenant_id", callable_=current_tenant_id, type_=BigId, unique=False)
_criteria = with_loader_criteria(
    TenantOwned,
    lambda cls: cls.tenant_id == _owned_by_current,
    include_aliases=True,
    track_closure_variables=False,
)


@event.listens_for(Session, "do_orm_execute")
def _on_orm_execute(state: ORMExecuteState) -> None:
    if state.is_column_load:
        return  # a refresh is checked by the load guard
    if state.is_relationship_load:  # carries the criteria along, unless its parent was made here, not loaded
        parent = state.lazy_loaded_from
        if parent is None or _criteria in parent.load_options:
            return
    if state.is_select or state.is_update or state.is_delete:
        state.statement = state.statement.options(_criteria)


@event.listens_for(TenantOwned, "load", propagate=True)
@event.listens_for(TenantOwned, "refresh", propagate=True)
def _on_row_loaded(row: TenantOwned, context: QueryContext, _attrs: Any = None) -> None:
    tenant_id = row.__dict__.get("tenant_id")
    if tenant_id is not None and tenant_id != current_tenant_id():
        raise CrossTenant(f"a {type(row).__name__} of another tenant was loaded")


@event.listens_for(Session, "before_flush")
def _on_before_flush(session: OrmSession, _context: UOWTransaction, _instances: Any) -> None:
    for row in session.new:
        if isinstance(row, TenantOwned):
            if row.tenant_id is None:
                row.tenant_id = current_tenant_id()
            _guard(row)
    for row in session.dirty:
        if isinstance(row, TenantOwned):
            _guard(row)
    for row in session.deleted:
        if isinstance(row, TenantOwned):
            _guard(row)


def _guard(row: TenantOwned) -> None:
    """Refuse `row`, and any loaded row that it points to, unless it is the current tenant's."""
    tenant_id = current_tenant_id()
    values = row.__dict__
    if row.tenant_id != tenant_id:
        raise CrossTenant(f"a {type(row).__name__} of another tenant would be written")
    for relationship in row.__mapper__.relationships:  # type: ignore[attr-defined]
        target = values.get(relationship.key)
        for other in target if isinstance(target, list | set | tuple) else (target,):
            if isinstance(other, TenantOwned):
                other_tenant = other.__dict__.get("tenant_id")
                if other_tenant is not None and other_tenant != tenant_id:
                    raise CrossTenant(
                        f"a {type(row).__name__} would point to another tenant's {type(other).__name__}"
                    )
