"""A second, made-up kind of operation, which the simulator serves: what waits for operations must not know pushes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.endpoints.operation import ListedOperation, OperationKind
from airflow_provider_codat.api.endpoints.push_operations import find_push_operations, get_push_operation

if TYPE_CHECKING:
    from collections.abc import Container

    from airflow_provider_codat.api.endpoints.operation import OperationState
    from airflow_provider_codat.api.endpoints.push_operations import PushOperation
    from airflow_provider_codat.api.http.paging import Page
    from airflow_provider_codat.api.http.request import Request


@dataclass(frozen=True)
class Pull:
    """An operation of a second, made-up kind, with statuses of its own."""

    key: str
    status: str
    requested_on: str | None

    @property
    def is_terminal(self) -> bool:
        return self.status != "Fetching"

    @property
    def is_success(self) -> bool:
        return self.status == "Complete"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def pulls_of(company_id: str, key_of: dict[str, str]) -> OperationKind[Pull]:
    """Return the kind of pull operations, which are the pushes of one company, whichever company is asked about.

    :param key_of: the key of a push -> the key of the pull operation that it stands for.
    """

    def as_pull(push: OperationState, requested_on: str | None) -> Pull:
        status = {"Pending": "Fetching", "Success": "Complete"}[push.status]
        return Pull(key_of[push.key], status, requested_on)

    def read_one(push: PushOperation) -> Pull:
        return as_pull(push, push.requested_on)

    def get(_: str, key: str) -> Request[Pull]:
        [push_key] = [each for each in key_of if key_of[each] == key]
        request = get_push_operation(company_id, push_key)
        return replace(request, read=lambda body: read_one(request.read(body)))

    def find(_: str, keys: Container[str], **options: Any) -> Request[Page[ListedOperation[Pull]]]:
        request = find_push_operations(company_id, [each for each in key_of if key_of[each] in keys], **options)

        def read(body: Any) -> Page[ListedOperation[Pull]]:
            page = request.read(body)
            pulls = [
                ListedOperation(each.requested_on, each.operation and as_pull(each.operation, each.requested_on))
                for each in page.results
            ]
            return replace(page, results=tuple(pulls))

        return replace(request, read=read)

    return OperationKind(
        name="pull operation",
        work="pull",
        key_argument="pull_id",
        key_field="pullId",
        known_statuses=frozenset({"Fetching", "Complete"}),
        get=get,
        hook_call="get_pull",
        find=find,
        newest_first="-requestedOnUtc",
        from_stored=lambda stored: Pull(**stored),
    )
