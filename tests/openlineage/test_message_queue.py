"""``MessageQueueTrigger`` of the package common-messaging, which is installed with that of OpenLineage."""

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

from airflow_provider_codat.triggers.codat import CodatEventTrigger


def test_the_scheme_codat_makes_the_row_of_the_event_trigger():
    arguments = {"asset_name": "an-asset", "company_id": "c", "events": ["read.completed"], "poll_interval": 100.0}
    assert MessageQueueTrigger(scheme="codat", **arguments).serialize() == CodatEventTrigger(**arguments).serialize()
