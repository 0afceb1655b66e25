"""Sync settings of companies and of the account, in both shapes."""

from __future__ import annotations

import pytest

REQUIRED = {"dataType", "fetchOnFirstLink", "syncSchedule", "syncOrder"}


def setting(data_type="invoices", schedule=24, **more):
    return {"dataType": data_type, "fetchOnFirstLink": True, "syncSchedule": schedule, "syncOrder": 0, **more}


def body(client, *settings, overrides=True, **more):
    return {"companyId": client.company.id, "overridesDefaults": overrides, "settings": list(settings), **more}


@pytest.fixture
def post(client):
    return lambda sent: client.post(client.path("/syncSettings"), json=sent)


def current(client, path=None):
    return client.get(path or client.path("/syncSettings")).json()


def test_a_company_begins_with_the_accounts_list(client):
    company, account = current(client), current(client, "/profile/syncSettings")
    assert (company["companyId"], company["overridesDefaults"]) == (client.company.id, False)
    assert company["settings"] == account["settings"] != []
    assert set(account) == {"clientId", "overridesDefaults", "settings"}
    assert all(set(entry) == REQUIRED and isinstance(entry["syncSchedule"], int) for entry in company["settings"])


def test_a_post_sets_the_whole_list_and_answers_204(client, post):
    bills = setting("bills", 168, syncFromWindow=12, isLocked=True)
    assert (post(body(client, setting(), bills)).status_code, post(body(client, bills)).content) == (204, b"")
    assert current(client) == body(client, bills)
    assert client.codat.sync_settings(client.company.id) == body(client, bills)


def test_what_a_list_leaves_out_can_take_the_accounts_default(simulate):
    client = simulate(left_out_data_types="account_default")
    default = {each["dataType"]: each for each in current(client, "/profile/syncSettings")["settings"]}
    assert client.post(client.path("/syncSettings"), json=body(client, setting("bills", 720))).status_code == 204
    told = {each["dataType"]: each for each in current(client)["settings"]}
    assert told == default | {"bills": setting("bills", 720)}


def test_back_to_the_accounts_list(client, post):
    before = current(client)
    post(body(client, setting()))
    assert post(body(client, setting(), overrides=False)).status_code == 204
    assert current(client) == before


def test_the_account_s_list_reaches_companies_without_their_own(client, post):
    other = client.codat.add_company()
    post(body(client, setting("bills")))
    account = current(client, "/profile/syncSettings") | {"settings": [setting("items", 720)]}
    assert client.post("/profile/syncSettings", json=account).status_code == 204
    assert current(client, "/profile/syncSettings") == account == client.codat.sync_settings()
    assert current(client, f"/companies/{other.id}/syncSettings")["settings"] == [setting("items", 720)]
    assert current(client)["settings"] == [setting("bills")]


def test_the_object_shape(simulate):
    client = simulate(sync_schedule_shape="object")
    assert current(client)["settings"][0]["syncSchedule"] == {"intervalHours": 24, "hourOfDay": 0}
    sent = body(client, setting(schedule={"intervalHours": 24, "hourOfDay": 6}))
    assert client.post(client.path("/syncSettings"), json=sent).status_code == 204
    assert current(client) == sent


@pytest.mark.parametrize(
    ("shape", "schedule"),
    [("integer", bad) for bad in ({"intervalHours": 24, "hourOfDay": 0}, "24", 24.5, None, True, 2, -1)]
    + [("object", bad) for bad in (24, {"intervalHours": 2}, {"intervalHours": 24, "hourOfDay": 24}, {})]
    + [("object", {"intervalHours": 24, "hourOfDay": 1, "minute": 3}), ("object", {"intervalHours": True})],
)
def test_the_other_shape_and_other_hours_are_400(simulate, shape, schedule):
    client = simulate(sync_schedule_shape=shape)
    before = current(client)
    response = client.post(client.path("/syncSettings"), json=body(client, setting(schedule=schedule)))
    assert response.status_code == 400
    (item,) = response.json()["validation"]["errors"]
    assert set(item) == {"itemId", "message", "validatorName"}
    assert item["itemId"] == "settings[0].syncSchedule"
    assert current(client) == before


@pytest.mark.parametrize(
    "change",
    [
        {"companyId": "another"},
        {"companyId": None},
        {"overridesDefaults": None},
        {"overridesDefaults": "true"},
        {"settings": None},
        {"settings": ["invoices"]},
        {"settings": [setting(), setting()]},
        {"settings": [setting(fetchOnFirstLink=None)]},
        {"settings": [setting(syncOrder=True)]},
        {"settings": [setting(data_type=None)]},
        {"settings": [setting(syncFromUtc="2026-01-01", syncFromWindow=3)]},
        {"settings": [setting(monthsToSync=3)]},
    ],
)
def test_what_codat_would_not_understand_is_400(client, post, change):
    assert post(body(client, setting()) | change).status_code == 400
    assert current(client)["overridesDefaults"] is False


@pytest.mark.parametrize("path", ["/profile/syncSettings", "/companies/{company}/syncSettings"])
def test_a_body_that_is_no_object_is_400(client, path):
    assert client.post(path.format(company=client.company.id), json=[]).status_code == 400


def test_months_to_sync_are_for_reports(client, post):
    assert post(body(client, setting("balanceSheet", monthsToSync=3))).status_code == 204


@pytest.mark.parametrize(("shape", "hourly"), [("integer", 1), ("object", {"intervalHours": 1, "hourOfDay": 0})])
@pytest.mark.parametrize(("free_plan", "status"), [(True, 402), (False, 204)])
def test_hourly_needs_a_paid_plan(simulate, shape, hourly, free_plan, status):
    client = simulate(sync_schedule_shape=shape, free_plan=free_plan)
    for path in (client.path("/syncSettings"), "/profile/syncSettings"):
        response = client.post(path, json=body(client, setting(schedule=hourly)))
        assert response.status_code == status
        if free_plan:
            assert response.json()["error"] == "SyncSettingsValidationException: Sync schedule not allowed"


@pytest.mark.parametrize("shape", ["integer", "object"])
def test_set_from_the_test_in_either_shape(simulate, shape):
    client = simulate(sync_schedule_shape=shape)
    both = [
        {"dataType": "bills", "syncSchedule": 24},
        {"dataType": "items", "syncSchedule": {"intervalHours": 168, "hourOfDay": 5}},
    ]
    client.codat.set_sync_settings(client.company.id, both)
    expected = [24, 168] if shape == "integer" else [{"intervalHours": 24, "hourOfDay": 0}, both[1]["syncSchedule"]]
    assert [entry["syncSchedule"] for entry in current(client)["settings"]] == expected
    assert all(set(entry) == REQUIRED for entry in current(client)["settings"])
    client.codat.set_sync_settings(client.company.id, overrides_defaults=False)
    assert current(client)["overridesDefaults"] is False


def test_what_the_test_gets_is_a_copy(client):
    client.codat.sync_settings(client.company.id)["settings"].clear()
    assert current(client)["settings"] != []
