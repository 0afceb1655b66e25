"""The account's profile."""

from __future__ import annotations

import pytest

PROFILE = {
    "name": "Bank of Dave",
    "redirectUrl": "https://bankofdave.com/{companyId}",
    "logoUrl": "https://bankofdave.com/logo",
    "iconUrl": "https://bankofdave.com/icon",
    "whiteListUrls": ["https://bankofdave.com"],
    "confirmCompanyName": True,
}


def test_the_profile_is_there_and_replaced_as_a_whole(client):
    assert set(client.get("/profile").json()) == {"name", "redirectUrl"}
    assert client.put("/profile", json=PROFILE).json() == client.get("/profile").json() == PROFILE
    short = {"name": "Dave", "redirectUrl": "https://bankofdave.com"}
    assert client.put("/profile", json={**short, "logoUrl": None}).json() == client.get("/profile").json() == short


@pytest.mark.parametrize(
    ("change", "item"),
    [
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"redirectUrl": None}, "redirectUrl"),
        ({"logoUrl": 7}, "logoUrl"),
        ({"iconUrl": []}, "iconUrl"),
        ({"whiteListUrls": "https://bankofdave.com"}, "whiteListUrls"),
        ({"whiteListUrls": [7]}, "whiteListUrls"),
        ({"confirmCompanyName": "yes"}, "confirmCompanyName"),
    ],
)
def test_a_profile_that_cannot_be_is_400(client, change, item):
    refused = client.put("/profile", json={**PROFILE, **change})
    assert refused.status_code == 400
    assert [each["itemId"] for each in refused.json()["validation"]["errors"]] == [item]
    assert client.get("/profile").json()["name"] == "Codat simulator"
