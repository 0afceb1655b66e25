"""Links from a task to the Codat Portal.

Airflow 3 shows the XCom under a link's ``xcom_key``, which a worker stores only at the end of the task. Airflow 2 calls
``get_link`` in the webserver, where the operator's templates are not rendered. So a task stores its link itself, with
:func:`store_company_link`, as soon as it knows its company.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier, path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

PORTAL = "https://app.codat.io"
XCOM_KEY = "_link_CodatCompanyLink"
"""The key of the link's XCom. Airflow 3 prescribes it; Airflow 2 accepts any."""

log = logging.getLogger(__name__)


class CodatCompanyLink(BaseOperatorLink):
    """Leads from a task to its company in the Codat Portal.

    Source: https://docs.codat.io/using-the-api/webhooks/event-types, the ``portal`` link of a company.
    """

    name = "Codat company"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or an empty string while it is not known.

        :param operator: an operator with a ``company_id``. While that is a template it is ignored.
        :param ti_key: the task instance.
        """
        known = company_address(getattr(operator, "company_id", None))
        return known or _xcom().get_value(ti_key=ti_key, key=XCOM_KEY) or ""


def company_address(company_id: Any) -> str:
    """Return the address of a company's page, or an empty string if the value is not an id.

    :param company_id: Codat's id of the company.
    """
    try:
        return PORTAL + path("companies", identifier("company_id", company_id), "summary")
    except CodatInputError:
        return ""


def store_company_link(task_instance: Any, company_id: str) -> None:
    """Store the link of a task, for :class:`CodatCompanyLink`. A failure is only logged.

    :param task_instance: the task instance that has the link.
    :param company_id: the rendered id of the company.
    """
    try:
        _xcom().set(
            key=XCOM_KEY,
            value=company_address(company_id),
            dag_id=task_instance.dag_id,
            task_id=task_instance.task_id,
            run_id=task_instance.run_id,
            map_index=task_instance.map_index,
        )
    except Exception:
        log.debug("The link to the company could not be stored.", exc_info=True)


def _xcom() -> Any:
    try:
        from airflow.sdk.bases.xcom import BaseXCom
    except ImportError:  # Airflow 2
        from airflow.models.xcom import XCom

        return XCom
    # Not the configured XCom backend: Airflow 3 reads links directly from its database.
    return BaseXCom
