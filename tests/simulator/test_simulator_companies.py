"""Authentication, companies, connections, paging and errors."""

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
        ("GET", "/companies/", 404),
        ("DELETE", "/companies", 405),
        ("PUT", "/companies/none", 404),
        ("PATCH", "/companies/none", 404),
        ("DELETE", "/companies/none", 404),
        ("POST", "/companies/none/connections", 404),
        ("PATCH", "/companies/{company}/connections/none", 404),
        ("PUT", "/companies/{company}/connections/none/authorization", 404),
        ("DELETE", "/companies/{company}/connections/none", 404),
        ("GET", "/companies/{company}/connections/none/options/bills", 404),
    ],
)
def test_what_is_not_there_is_an_error_in_codats_shape(client, method, path, status):
    body = {"name": "Shop", "platformKey": "mqjo"} if method in ("POST", "PUT", "PATCH") else None
    response = client.request(method, path.format(company=client.company.id), json=body)
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


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"query": "tags.region = uk"}, ["UK", "Scots"]),
        ({"tags": "region=uk"}, ["UK", "Scots"]),
        ({"tags": "region!=uk"}, ["US"]),
        ({"tags": "region~U"}, ["UK", "US", "Scots"]),
        ({"tags": "region=uk && tier=2"}, ["Scots"]),
        ({"tags": "planet=mars"}, []),
        ({"tags": "region=uk", "query": "name=UK"}, ["UK"]),
    ],
)
def test_companies_by_tag(client, params, expected):
    for name, tags in {"UK": {"region": "uk"}, "US": {"region": "us"}, "Scots": {"region": "uk", "tier": "2"}}.items():
        client.codat.add_company(name=name, tags=tags)
    found = client.get("/companies", params=params).json()
    assert [company["name"] for company in found["results"]] == expected
    assert found["totalResults"] == len(expected)


def test_malformed_tags_are_400(client):
    assert client.get("/companies", params={"tags": "region"}).status_code == 400


def test_a_company_is_created_without_a_connection(client, clock):
    created = client.post("/companies", json={"name": "Café (Codat[1])", "description": "d", "tags": {"region": "us"}})
    assert created.status_code == 200
    company = created.json()
    assert (company["name"], company["description"], company["tags"]) == ("Caf Codat1", "d", {"region": "us"})
    assert (company["dataConnections"], company["created"]) == ([], "2030-01-01T00:00:00.000000Z")
    assert client.get(f"/companies/{company['id']}").json() == company
    (_, in_books) = client.codat.companies
    assert in_books.id == company["id"]
    with pytest.raises(LookupError, match=f"company {in_books.id} has no connection"):
        _ = in_books.connection_id


def test_a_company_is_replaced_as_a_whole(client):
    client.patch(client.path(), json={"description": "d", "tags": {"region": "us"}})
    replaced = client.put(client.path(), json={"name": "New"}).json()
    assert (replaced["name"], replaced["description"], replaced["tags"]) == ("New", None, {})
    assert replaced["dataConnections"] == client.get(client.path()).json()["dataConnections"] != []


def test_a_company_is_changed_in_what_is_named(client):
    client.patch(client.path(), json={"description": "d"})
    changed = client.patch(client.path(), json={"name": None, "tags": {"region": "us"}}).json()
    assert (changed["name"], changed["description"], changed["tags"]) == ("Corner Shop", "d", {"region": "us"})
    assert client.patch(client.path(), json={}).json() == changed == client.get(client.path()).json()


@pytest.mark.parametrize(
    ("change", "item"),
    [
        ({"name": ""}, "name"),
        ({"name": "[*]"}, "name"),
        ({"name": 7}, "name"),
        ({"description": 7}, "description"),
        ({"tags": ["region"]}, "tags"),
        ({"tags": {"region": 7}}, "tags"),
        ({"tags": {"": "uk"}}, "tags"),
        ({"tags": {"r" * 28: "uk"}}, "tags"),
        ({"tags": {"region": "u" * 101}}, "tags"),
        ({"tags": {str(number): "uk" for number in range(11)}}, "tags"),
    ],
)
def test_a_company_that_cannot_be_is_400(client, change, item):
    before = client.get(client.path()).json()
    for method, path in (("POST", "/companies"), ("PUT", client.path()), ("PATCH", client.path())):
        refused = client.request(method, path, json={"name": "Shop", **change})
        assert refused.status_code == 400
        assert [each["itemId"] for each in refused.json()["validation"]["errors"]] == [item]
    assert client.get("/companies").json()["results"] == [before]


@pytest.mark.parametrize(("method", "path"), [("POST", "/companies"), ("PUT", "/companies/{company}")])
def test_a_company_has_a_name(client, method, path):
    refused = client.request(method, path.format(company=client.company.id), json={"description": "d"})
    assert (refused.status_code, refused.json()["error"]) == (400, "Error processing request - name is missing.")


def test_a_deleted_company_is_gone(client):
    key = client.create()["pushOperationKey"]
    deleted = client.delete(client.path())
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("", "/push", f"/push/{key}", "/connections", "/syncSettings"):
        assert client.get(client.path(path)).status_code == 404
    assert client.codat.companies == []


def test_a_chosen_id(client):
    assert client.codat.add_company(id="my-id").id == "my-id"
    assert client.get("/companies/my-id").json()["id"] == "my-id"
    assert [company.id for company in client.codat.companies] == [client.company.id, "my-id"]
