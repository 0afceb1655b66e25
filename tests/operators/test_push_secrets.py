"""Nothing of the record is shown anywhere: neither in logs nor in errors, reprs, triggers or the store."""

from datetime import date
from decimal import Decimal

import pytest
from push_runs import (
    REFUSED,
    SOMEBODY,
    defer,
    push,
    wait_in_triggerer,
    wait_in_worker,
)

from airflow_provider_codat.exceptions import (
    CodatError,
    CodatInputError,
)
from airflow_provider_codat.simulator import UNDECIDED, Fault, Outcome

SECRET = "secret-7f3b"
CONFIDENTIAL = {"reference": SECRET, "lineItems": [{"description": f"for {SECRET}", "unitAmount": 1}]}
FAULTS = {
    "none": [],
    "reset": [Fault("reset", method="POST", times=None)],
    "reset after": [Fault("reset_after", method="POST", times=None)],
    "500": [Fault("status", status=500, method="POST")],
    "400": [Fault("status", status=400, method="POST")],
    "422": [Fault("status", status=422, method="POST")],
    "html": [Fault("html", method="POST", times=None)],
    "429": [Fault("status", status=429, method="POST", times=None)],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("outcome", [Outcome(), REFUSED], ids=["success", "failed"])
@pytest.mark.parametrize("wait", [wait_in_worker, wait_in_triggerer])
def test_nothing_of_the_record_is_shown_anywhere(wait, outcome, faults, codat, company, connect, clock, store, logged):
    connect(max_retry_wait=0)
    codat.outcome(outcome)
    for fault in faults:
        codat.fault(fault)
    seen = []
    for try_number in (1, 2, 3):
        record = CONFIDENTIAL | {
            "note": f"{SECRET}-{try_number}"
        }  # from the second try on another content under the key
        operator = push(company, record=record, deferrable=wait is wait_in_triggerer)
        try:
            seen.append(wait(operator, clock, store, try_number=try_number))
        except CodatError as error:
            seen += [repr(error), str(error), vars(error)]
        operator.on_kill()
        seen += [repr(operator), str(operator), store.values]
    seen.append(logged())
    assert codat.count("POST") > 0
    assert "Writing bills of company" in str(seen)
    assert SECRET not in str(seen)


def test_nothing_of_the_record_is_in_the_trigger_or_the_deferral(codat, company):
    codat.outcome(UNDECIDED)
    deferred = defer(push(company, record=CONFIDENTIAL, deferrable=True))
    trigger = deferred.trigger
    assert SECRET not in str([repr(trigger), str(trigger), vars(trigger), trigger.serialize(), vars(deferred)])


@pytest.mark.parametrize("value", [Decimal("1.5"), float("nan"), date.min])
def test_a_record_that_has_no_json_form_is_not_shown_either(value):
    with pytest.raises(CodatInputError) as raised:
        push(SOMEBODY, record=CONFIDENTIAL | {SECRET: value})
    assert SECRET not in str(raised.value)
    assert "Inf" not in str(raised.value)
