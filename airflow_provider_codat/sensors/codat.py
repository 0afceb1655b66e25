"""``CodatPushOperationSensor`` waits until a push operation has ended."""

from airflow_provider_codat.sensors.push_operation import CodatPushOperationSensor

__all__ = ["CodatPushOperationSensor"]
