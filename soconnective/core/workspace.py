"""The current workspace as pages and rules need it: name, currency, time zone. The row itself is in accounts."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date

from soconnective.core import clock
from soconnective.core.tenancy import current_tenant_id


@dataclass(frozen=True, slots=True)
class Workspace:
    id: int
    name: str
    currency: str = "EUR"
    timezone: str = "UTC"
    is_demo: bool = False


_loaded: ContextVar[Workspace | None] = ContextVar("workspace", default=None)
_loader: list[Callable[[int], Workspace]] = []


def load_workspaces_with(loader: Callable[[int], Workspace]) -> None:
    """Set by accounts: how a workspace is read by its id."""
    _loader[:] = [loader]


_lister: list[Callable[[], list[int]]] = []


def list_workspaces_with(lister: Callable[[], list[int]]) -> None:
    """Set by accounts: the ids of all workspaces, for what the scheduler does in each."""
    _lister[:] = [lister]


def workspace_ids() -> list[int]:
    return _lister[0]()


def enter_workspace(workspace: Workspace | None) -> None:
    """Keep what the request already read (None forgets it: its settings changed, or the request ended)."""
    _loaded.set(workspace)


def peek_workspace() -> Workspace | None:
    """What is kept, if anything: for whoever puts it back later."""
    return _loaded.get()


def current_workspace() -> Workspace:
    """The current tenant's workspace; read once, then kept while the tenant stays the same."""
    tenant_id = current_tenant_id()
    workspace = _loaded.get()
    if workspace is None or workspace.id != tenant_id:
        workspace = _loader[0](tenant_id)
        _loaded.set(workspace)
    return workspace


def workspace_today() -> date:
    """Today on the workspace's wall calendar."""
    return clock.today(current_workspace().timezone)
