"""Authentication, companies, connections, paging and errors on the wire."""

from __future__ import annotations

import base64

import httpx
import pytest

COMPANY_REQUIRED = {"id", "name", "redirect"}
CONNECTION_REQUIRED = {
    "id",
    "integrationId",
    "sourceId",
    "platformName",
    "linkUrl",
    "status",
    "created",
    "sourceType",
}
CONNECTION_ALLOWED = CONNECTION_REQUIRED | {"integrationKey", "lastSync", "dataConnectionErrors", "connectionInfo"}
ERROR_FIELDS = {"statusCode", "service", "error", "correlationId", "canBeRetried", "detailedErrorCode"}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Basic", "Basic wrong", "Basic " + base64.b64encode(b"wrong").decode(), "Bearer {key}", "{key}"],
)
def test_any_other_key_is_401_in_codats_error_shape(client, authorization):
    headers = {} if authorization is None else {"Authorization": authorization.format(key=client.codat.api_key)}
    response = httpx.get(f"{client.codat.url}/companies", headers=headers)
    assert response.status_code == 401
    assert set(response.json()) == ERROR_FIELDS
    assert (response.json()["statusCode"], response.json()["canBeRetried"]) == (401, "Unknown")


def test_a_company_has_what_the_description_requires(client):
    company = client.get(client.path()).json()
    assert set(company) >= COMPANY_REQUIRED
    assert (company["id"], company["name"]) == (client.company.id, "Corner Shop")
    (connection,) = company["dataConnections"]
    assert CONNECTION_REQUIRED <= set(connection) <= CONNECTION_ALLOWED
    assert connection["id"] == client.company.connection_id


def test_connections_of_a_company(client):
    page = client.get(client.path("/connections")).json()
    assert page["totalResults"] == 1
    one = client.get(client.path(f"/connections/{client.company.connection_id}")).json()
    assert page["results"] == [one]
    assert one["status"] == "Linked"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/companies/none", 404),
        ("GET", "/companies/none/push", 404),
        ("GET", "/companies/none/syncSettings", 404),
        ("GET", "/companies/{company}/connections/none", 404),
        ("POST", "/companies/{company}/connections/none/push/bills", 404),
        ("GET", "/nowhere", 404),
        ("DELETE", "/companies", 405),
    ],
)
def test_what_is_not_there_is_an_error_in_codats_shape(client, method, path, status):
    response = client.request(method, path.format(company=client.company.id))
    assert response.status_code == response.json()["statusCode"] == status
    assert set(response.json()) == ERROR_FIELDS


def test_companies_in_pages(client):
    ids = [client.company.id] + [client.codat.add_company(name=f"No. {number}").id for number in range(4)]
    seen, path, pages = [], "/companies?pageSize=2", []
    while path:
        page = client.get(path).json()
        pages.append(page)
        seen += [company["id"] for company in page["results"]]
        path = page["_links"].get("next", {}).get("href")
    assert seen == ids
    assert [(page["pageNumber"], page["pageSize"], page["totalResults"]) for page in pages] == [
        (1, 2, 5),
        (2, 2, 5),
        (3, 2, 5),
    ]
    assert [sorted(page["_links"]) for page in pages] == [
        ["current", "next", "self"],
        ["current", "next", "previous", "self"],
        ["current", "previous", "self"],
    ]
    assert pages[0]["_links"]["self"]["href"] == "/companies"
    assert client.get(pages[1]["_links"]["previous"]["href"]).json() == pages[0]
    assert client.get(pages[1]["_links"]["current"]["href"]).json() == pages[1]


def test_links_keep_the_query_and_the_order(client):
    client.codat.add_company(name="Shop & Co")
    page = client.get("/companies", params={"query": "name~shop", "orderBy": "-name", "pageSize": 1}).json()
    following = client.get(page["_links"]["next"]["href"]).json()
    assert [page["results"][0]["name"], following["results"][0]["name"]] == ["Shop & Co", "Corner Shop"]


def test_a_page_beyond_the_end_is_empty(client):
    page = client.get("/companies", params={"page": 7}).json()
    assert (page["results"], page["totalResults"]) == ([], 1)


@pytest.mark.parametrize("size", [1, 5000])
def test_page_sizes_at_the_limits(client, size):
    assert client.get("/companies", params={"pageSize": size}).json()["pageSize"] == size


def test_the_default_page_size(client):
    assert client.get("/companies").json()["pageSize"] == 100


@pytest.mark.parametrize(
    "params",
    [
        *({"pageSize": size} for size in (0, 5001, "x", "", "9" * 5000)),
        *({"page": page} for page in (0, -1, "1.5", "²")),
    ],
)
@pytest.mark.parametrize("path", ["/companies", "/companies/{company}/push", "/companies/{company}/connections"])
def test_a_page_that_cannot_be_is_400(client, path, params):
    assert client.get(path.format(company=client.company.id), params=params).status_code == 400


def test_companies_by_tag(client):
    uk = client.codat.add_company(name="UK", tags={"region": "uk"})
    found = client.get("/companies", params={"query": "tags.region = uk"}).json()["results"]
    assert [company["id"] for company in found] == [uk.id]


def test_a_chosen_id(client):
    assert client.codat.add_company(id="my-id").id == "my-id"
    assert client.get("/companies/my-id").json()["id"] == "my-id"
    assert [company.id for company in client.codat.companies] == [client.company.id, "my-id"]
