"""The calls of ``CodatHook``, by subject."""

from __future__ import annotations

import logging
import time

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.endpoints import (
    companies,
    connections,
    data_status,
    pull_operations,
    push_operations,
    read_records,
    records,
    refreshes,
    webhooks,
)
from airflow_provider_codat.api.endpoints.operation import OperationT
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.steps import Steps
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.waiting.wait import OperationWait
from airflow_provider_codat.hooks.calls import Course, Endpoint, FileEndpoint, PagedEndpoint, ShapedEndpoint, Wait

LONGEST_WAIT = 4 * 3600
"""The longest ``timeout`` of a wait, in seconds. A larger number is most likely one of milliseconds."""

LONGEST_INTERVAL = 600
"""The longest ``poll_interval``, in seconds, for the same reason."""

log = logging.getLogger(__name__)


def wait_for_push_operation(
    company_id: str, push_operation_key: str, *, poll_interval: float = 2.0, timeout: float = 120.0
) -> Steps[push_operations.PushOperation]:
    """Wait until a push operation has ended, and return it, whatever its status.

    It is meant for ``@task`` functions. For a long wait use ``CodatPushOperationSensor``.

    :param company_id: the company written to.
    :param push_operation_key: the key of the operation, from Codat's answer to the write.
    :param poll_interval: the shortest pause between two checks in seconds, above 0 and at most 600 (ten minutes);
        default 2. The pause is a tenth of the time waited so far, if that is longer, up to 60 seconds.
    :param timeout: seconds to wait, at most 14,400 (four hours); 0 checks once; default 120.
    :raises CodatInputError: a number is out of bounds, most likely because it was given in milliseconds.
    :raises CodatWaitTimeout: ``timeout`` passed first; the error names the last status seen.
    :raises CodatApiError: Codat answered with an error that is not transient, such as 401 or 403.

    Source: https://docs.codat.io/using-the-api/push.
    """
    wait = OperationWait(push_operations.PUSH_OPERATION, company_id, push_operation_key, log)
    return _steps(wait, poll_interval, timeout, "; a CodatPushOperationSensor can wait longer")


def wait_for_pull_operation(
    company_id: str, pull_operation_id: str, *, poll_interval: float = 2.0, timeout: float = 120.0
) -> Steps[pull_operations.PullOperation]:
    """Wait until a pull operation has ended, and return it, whatever its status.

    It is meant for ``@task`` functions and short refreshes. A refresh can take days; no worker should wait for it.

    :param company_id: Codat's id of the company.
    :param pull_operation_id: the id of the operation, from Codat's answer to the refresh.
    :param poll_interval: the shortest pause between two checks in seconds, above 0 and at most 600 (ten minutes);
        default 2. The pause is a tenth of the time waited so far, if that is longer, up to 60 seconds.
    :param timeout: seconds to wait, at most 14,400 (four hours); 0 checks once; default 120.
    :raises CodatInputError: a number is out of bounds, most likely because it was given in milliseconds.
    :raises CodatWaitTimeout: ``timeout`` passed first; the error names the last status seen.
    :raises CodatApiError: Codat answered with an error that is not transient, such as 401 or 403.

    Source: https://docs.codat.io/core-concepts/status.
    """
    wait = OperationWait(pull_operations.PULL_OPERATION, company_id, pull_operation_id, log)
    return _steps(wait, poll_interval, timeout)


def _steps(
    wait: OperationWait[OperationT], poll_interval: float, timeout: float, remedy: str = ""
) -> Steps[OperationT]:
    _check_seconds("poll_interval", poll_interval, LONGEST_INTERVAL)
    if timeout != 0:  # 0 checks once
        _check_seconds("timeout", timeout, LONGEST_WAIT, remedy)
    return wait.steps(timeout, Pace(poll_interval), time.monotonic)


def _check_seconds(name: str, seconds: float, most: int, remedy: str = "") -> None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds <= most:
        raise CodatInputError(
            f"{name} is {seconds!r}: it is in seconds, give a number above 0 and up to {most:,}{remedy}"
        )


class Catalogue:
    """The calls of ``CodatHook``. Each blocks, and has an asynchronous form ``.aio``."""

    get_company = Endpoint(companies.get_company)
    list_companies = Endpoint(companies.list_companies)
    iterate_companies = PagedEndpoint(companies.list_companies)
    create_company = Endpoint(companies.create_company)

    # Airflow's BaseHook has a get_connection, for connections of Airflow.
    get_data_connection = Endpoint(connections.get_data_connection)
    list_data_connections = Endpoint(connections.list_data_connections)
    iterate_data_connections = PagedEndpoint(connections.list_data_connections)
    unlink_data_connection = Endpoint(connections.unlink_data_connection)

    queue_refresh = Course(refreshes.queue_refresh)
    queue_refresh_all = Course(refreshes.queue_refresh_all)
    get_data_status = Endpoint(data_status.get_data_status)
    get_pull_operation = Endpoint(pull_operations.get_pull_operation)
    list_pull_operations = Endpoint(pull_operations.list_pull_operations)
    iterate_pull_operations = PagedEndpoint(pull_operations.list_pull_operations)
    wait_for_pull_operation = Wait(wait_for_pull_operation)
    get_pull_validation = Endpoint(pull_operations.get_pull_validation)

    list_records = Endpoint(read_records.list_records, records="read")
    iterate_records = PagedEndpoint(read_records.list_records, records="read")
    get_record = Endpoint(read_records.get_record, records="read")
    get_report = Endpoint(read_records.get_report, records="read")
    get_info = Endpoint(read_records.get_info, records="read")

    create_record = Endpoint(records.create_record, records="written")
    update_record = Endpoint(records.update_record, records="written")
    delete_record = Endpoint(records.delete_record, records="written")
    upload_attachment = FileEndpoint(records.upload_attachment, records="written")
    get_push_operation = Endpoint(push_operations.get_push_operation)
    list_push_operations = Endpoint(push_operations.list_push_operations)
    iterate_push_operations = PagedEndpoint(push_operations.list_push_operations)
    wait_for_push_operation = Wait(wait_for_push_operation)

    get_company_sync_settings = Endpoint(sync_settings.get_company_sync_settings)
    update_company_sync_settings = ShapedEndpoint(sync_settings.update_company_sync_settings)
    get_account_sync_settings = Endpoint(sync_settings.get_account_sync_settings)
    update_account_sync_settings = ShapedEndpoint(sync_settings.update_account_sync_settings)

    list_webhooks = Endpoint(webhooks.list_webhooks)
    create_webhook = Endpoint(webhooks.create_webhook)
    delete_webhook = Endpoint(webhooks.delete_webhook)
