import pytest

from airflow_provider_codat.api.endpoints.companies import Company, get_company, list_companies
from airflow_provider_codat.api.errors import CodatResponseError


@pytest.mark.parametrize(
    ("body", "company"),
    [
        ({"id": "c", "name": "Shop", "dataConnections": [{"id": "d"}, {"id": "e"}]}, Company("c", "Shop", ("d", "e"))),
        ({"id": "c"}, Company("c", None)),
        ({"id": "c", "name": None, "dataConnections": None}, Company("c", None)),
        ({"id": "c", "dataConnections": [None, {}, {"id": None}, "d", {"id": 7}]}, Company("c", None, ("7",))),
    ],
    ids=["full", "least", "nulls", "garbage"],
)
def test_a_company_is_read_from_what_codat_says(body, company):
    assert Company.from_json(body) == company


@pytest.mark.parametrize("body", [None, [], "c", 7, {}, {"id": None}, {"id": ""}])
def test_what_is_no_company_is_a_response_error(body):
    with pytest.raises(CodatResponseError, match="company"):
        get_company("c").read(body)


def test_a_list_asks_for_what_was_given_and_nothing_else():
    assert list_companies().params == {"page": 1, "pageSize": 100}
    assert list_companies(page=2, page_size=7, query="name=a", order_by="-created").params == {
        "page": 2,
        "pageSize": 7,
        "query": "name=a",
        "orderBy": "-created",
    }
