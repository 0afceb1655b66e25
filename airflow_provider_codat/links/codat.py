"""Links from a task to the Codat Portal.

Airflow 3 shows what a task has stored under a link's ``xcom_key``, and a worker that is done with a task stores what
``get_link`` returns. Airflow 2 has the webserver call ``get_link``, which knows the operator as it was before its
templates were rendered. So a task stores its link itself with :func:`store_company_link`, when its company is known.
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
"""The name Airflow 3 gives such an XCom; Airflow 2 gives none."""

log = logging.getLogger(__name__)


class CodatCompanyLink(BaseOperatorLink):
    """The company a task is about, in the Codat Portal.

    Source: https://docs.codat.io/using-the-api/webhooks/event-types, the ``portal`` link of a company.
    """

    name = "Codat company"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or an empty string while it is not known.

        :param operator: one with a ``company_id``, which does not count while it is a template.
        :param ti_key: the task instance.
        """
        known = company_address(getattr(operator, "company_id", None))
        return known or _xcom().get_value(ti_key=ti_key, key=XCOM_KEY) or ""


def company_address(company_id: Any) -> str:
    """Return the address of a company's page, or an empty string for a value that is no id.

    :param company_id: Codat's id of the company.
    """
    try:
        return PORTAL + path("companies", identifier("company_id", company_id), "summary")
    except CodatInputError:
        return ""


def store_company_link(task_instance: Any, company_id: str) -> None:
    """Store the link of a task, for :class:`CodatCompanyLink`. A failure is only logged.

    :param task_instance: the task instance that has the link.
    :param company_id: the company, rendered.
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
    # Not the configured XCom backend: Airflow 3 shows links as they are in its database.
    return BaseXCom
