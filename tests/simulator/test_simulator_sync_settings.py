"""Sync settings of companies and of the account, in both shapes."""

from __future__ import annotations

import pytest

REQUIRED = {"dataType", "fetchOnFirstLink", "syncSchedule", "syncOrder"}


def setting(data_type="invoices", schedule=24, **more):
    return {"dataType": data_type, "fetchOnFirstLink": True, "syncSchedule": schedule, "syncOrder": 0, **more}


def body(client, *settings, overrides=True, **more):
    return {"companyId": client.company.id, "overridesDefaults": overrides, "settings": list(settings), **more}


def account_body(client, *settings, **more):
    client_id = client.codat.sync_settings()["clientId"]
    return {"clientId": client_id, "overridesDefaults": True, "settings": list(settings), **more}


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
    shown = {each["dataType"]: each for each in current(client)["settings"]}
    assert shown == default | {"bills": setting("bills", 720)}


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
        {"settings": [setting("bils")]},
        {"settings": [setting(["bills"], monthsToSync=3)]},
        {"settings": [{key: value for key, value in setting().items() if key != "syncOrder"}]},
        {"settings": [setting(syncFromWindow="many")]},
        {"settings": [setting(syncFromWindow=-1)]},
        {"settings": [setting(syncFromUtc="yesterday")]},
        {"settings": [setting(syncFromUtc=2026)]},
        {"settings": [setting("balanceSheet", monthsToSync="3")]},
        {"settings": [setting(isLocked="true")]},
        {"settings": [setting(syncFromUtc="2026-01-01", syncFromWindow=3)]},
        {"settings": [setting(monthsToSync=3)]},
    ],
)
def test_what_codat_would_not_understand_is_400(client, post, change):
    refused = post(body(client, setting()) | change)
    assert refused.status_code == 400
    for item in refused.json()["validation"]["errors"]:
        assert item["itemId"].startswith(tuple(change))
        assert item["message"] in refused.json()["error"]
        assert item["validatorName"] == "SyncSettings"
    assert current(client)["overridesDefaults"] is False


def test_all_that_is_wrong_is_said_at_once(client, post):
    refused = post(body(client, setting("bils", syncOrder="first"), setting(isLocked="no"))).json()
    assert [item["itemId"] for item in refused["validation"]["errors"]] == [
        "settings[0].dataType",
        "settings[0].syncOrder",
        "settings[1].isLocked",
    ]


def test_null_is_as_if_it_were_not_there(client, post):
    assert post(body(client, setting(syncFromUtc=None, syncFromWindow=3, isLocked=None))).status_code == 204
    assert current(client)["settings"] == [setting(syncFromWindow=3)]


def test_the_client_that_sends_objects_needs_neither_company_nor_order(simulate):
    client = simulate(sync_schedule_shape="object")
    daily = {"dataType": "bills", "fetchOnFirstLink": True, "syncSchedule": {"intervalHours": 24, "hourOfDay": 2}}
    sent = {"overridesDefaults": True, "settings": [daily]}
    assert client.post(client.path("/syncSettings"), json=sent).status_code == 204
    assert current(client) == {"companyId": client.company.id, **sent, "settings": [daily | {"syncOrder": 0}]}
    other = client.post(client.path("/syncSettings"), json={"companyId": "another", **sent})
    assert other.json()["validation"]["errors"][0]["itemId"] == "companyId"


@pytest.mark.parametrize("client_id", [{}, {"clientId": None}, {"clientId": "another"}])
@pytest.mark.parametrize(("shape", "schedule"), [("integer", 24), ("object", {"intervalHours": 24, "hourOfDay": 0})])
def test_the_account_s_list_names_its_client(simulate, client_id, shape, schedule):
    client = simulate(sync_schedule_shape=shape)
    before = current(client, "/profile/syncSettings")
    sent = {"overridesDefaults": True, "settings": [setting(schedule=schedule)], **client_id}
    refused = client.post("/profile/syncSettings", json=sent)
    assert refused.status_code == 400
    assert [item["itemId"] for item in refused.json()["validation"]["errors"]] == ["clientId"]
    assert current(client, "/profile/syncSettings") == before


LOCKED = setting("bills", 168, isLocked=True)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ([LOCKED], 204),
        ([LOCKED, setting("items")], 204),
        ([LOCKED | {"syncSchedule": 24}], 400),
        ([LOCKED | {"isLocked": False}], 400),
        ([setting("bills", 168)], 400),
        ([setting("items")], 400),
        ([], 400),
    ],
)
def test_what_is_locked_stays_as_it_is(client, post, change, status):
    client.codat.set_sync_settings(client.company.id, [LOCKED, setting()])
    answer = post(body(client, *change))
    assert answer.status_code == status
    if status == 400:
        (item,) = answer.json()["validation"]["errors"]
        assert item["message"] == "settings would change bills, which is locked."
    assert current(client)["settings"] == (change if status == 204 else [LOCKED, setting()])


def test_a_lock_of_the_company_keeps_it_from_the_account_s_list(client, post):
    client.codat.set_sync_settings(client.company.id, [LOCKED])
    assert post(body(client, overrides=False)).status_code == 400
    assert current(client)["settings"] == [LOCKED]


def test_a_lock_of_the_account_holds_for_all(client, post):
    client.codat.set_sync_settings(None, [LOCKED, setting()])
    assert client.post("/profile/syncSettings", json=account_body(client, setting())).status_code == 400
    assert post(body(client, setting("bills"))).status_code == 400
    assert post(body(client, LOCKED, setting("items"))).status_code == 204
    assert post(body(client, overrides=False)).status_code == 204


def test_the_test_itself_unlocks(client, post):
    client.codat.set_sync_settings(client.company.id, [LOCKED])
    client.codat.set_sync_settings(client.company.id, [LOCKED | {"isLocked": False}])
    assert post(body(client, setting("bills"))).status_code == 204


@pytest.mark.parametrize("path", ["/profile/syncSettings", "/companies/{company}/syncSettings"])
def test_a_body_that_is_no_object_is_400(client, path):
    assert client.post(path.format(company=client.company.id), json=[]).status_code == 400


def test_months_to_sync_are_for_reports(client, post):
    assert post(body(client, setting("balanceSheet", monthsToSync=3))).status_code == 204


@pytest.mark.parametrize(("shape", "hourly"), [("integer", 1), ("object", {"intervalHours": 1, "hourOfDay": 0})])
@pytest.mark.parametrize(("free_plan", "status"), [(True, 402), (False, 204)])
def test_hourly_needs_a_paid_plan(simulate, shape, hourly, free_plan, status):
    client = simulate(sync_schedule_shape=shape, free_plan=free_plan)
    for path, whose in ((client.path("/syncSettings"), body), ("/profile/syncSettings", account_body)):
        response = client.post(path, json=whose(client, setting(schedule=hourly)))
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
