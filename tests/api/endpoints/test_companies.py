import pytest

from airflow_provider_codat.api.endpoints.companies import Company, create_company, get_company, list_companies
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError, CodatServerError
from airflow_provider_codat.api.http.retry import may_be_resent

GUID = "6f7b40a2-5f1e-4d6f-8a3b-1c2d3e4f5a6b"
LINK = "https://link.codat.io/company/c"


@pytest.mark.parametrize(
    ("body", "company"),
    [
        ({"id": "c", "name": "Shop", "dataConnections": [{"id": "d"}, {"id": "e"}]}, Company("c", "Shop", ("d", "e"))),
        ({"id": "c"}, Company("c", None)),
        ({"id": "c", "name": None, "dataConnections": None, "redirect": None}, Company("c", None)),
        ({"id": "c", "dataConnections": [], "redirect": LINK}, Company("c", None, (), LINK)),
        ({"id": "c", "dataConnections": [None, {}, {"id": None}, "d", {"id": 7}]}, Company("c", None, ("7",))),
    ],
    ids=["full", "least", "nulls", "new", "garbage"],
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


def test_a_company_is_created_with_what_was_given_and_nothing_else():
    request = create_company("Bank of Dave", description="7", tags={"region": "uk"}, idempotency_key=GUID.upper())
    assert str(request) == "POST /companies"
    assert request.body == {"name": "Bank of Dave", "description": "7", "tags": {"region": "uk"}}
    assert request.headers["Idempotency-Key"] == GUID
    assert create_company("Shop").body == {"name": "Shop"}
    assert request.read({"id": "c", "name": "Bank of Dave", "redirect": LINK, "dataConnections": []}).redirect == LINK


def test_a_company_is_not_created_twice():
    """The same request is sent again under the same key; another call has another key."""
    request, other = create_company("Shop"), create_company("Shop")
    assert may_be_resent(CodatServerError(503, "down"), request)
    assert not may_be_resent(CodatServerError(500, "down"), request)
    assert request.headers["Idempotency-Key"] != other.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": " "}, "name is ' '"),
        ({"name": None}, "name is None"),
        ({"tags": {str(number): "x" for number in range(11)}}, "tags has 11 entries: Codat takes at most 10"),
        ({"tags": {"": "x"}}, "a text of 1 to 27 characters"),
        ({"tags": {"x" * 28: "x"}}, "a text of 1 to 27 characters"),
        ({"tags": {"a": "x" * 101}}, r"tags\['a'\] has to be a text of at most 100 characters"),
        ({"tags": {"a": 7}}, r"tags\['a'\]"),
        ({"idempotency_key": "key"}, "is not a GUID"),
    ],
)
def test_what_codat_would_refuse_is_not_sent(arguments, complaint):
    with pytest.raises(CodatInputError, match=complaint):
        create_company(**{"name": "Shop", **arguments})


def test_tags_may_be_as_long_as_codat_takes_them():
    tags = {f"{number:027}": "x" * 100 for number in range(10)}
    assert create_company("Shop", tags=tags).body["tags"] == tags
