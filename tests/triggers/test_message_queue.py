"""What ``MessageQueueTrigger`` of the package common-messaging finds here. tests/distributed has the package."""

from importlib import import_module

from airflow_provider_codat.get_provider_info import get_provider_info
from airflow_provider_codat.triggers.codat import CodatEventTrigger


def test_the_scheme_codat_stands_for_the_event_trigger():
    [name] = get_provider_info()["queues"]
    module, _, class_name = name.rpartition(".")
    provider = getattr(import_module(module), class_name)()
    assert provider.scheme == "codat"
    assert provider.trigger_class() is CodatEventTrigger
    assert not provider.queue_matches("codat://queue")
    assert provider.trigger_kwargs("codat://queue") == {}
