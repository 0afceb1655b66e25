"""An operator that reads five invoices."""

import pytest

from airflow_provider_codat.operators.codat import CodatExtractOperator


@pytest.fixture
def operator(company, tmp_path):
    """Return a function that makes an operator which reads invoices."""

    def operator(**arguments):
        given = {"task_id": "extract", "company_id": company.id, "data_type": "invoices", "path": str(tmp_path)}
        return CodatExtractOperator(**given | {"page_size": 2, "overlap": 0} | arguments)

    return operator


@pytest.fixture
def invoices(codat, company):
    """Return the source of invoices, of which there are five, refreshed once."""
    source = codat.source(company.id, "invoices")
    for number in range(5):
        source.add({"id": f"i{number}", "totalAmount": number})
    codat.refreshes.add(company.id, "invoices")
    return source
