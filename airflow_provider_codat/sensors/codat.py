"""``CodatPushOperationSensor`` waits for a push operation, ``CodatDataFreshnessSensor`` for fresh data."""

from airflow_provider_codat.sensors.data_freshness import CodatDataFreshnessSensor
from airflow_provider_codat.sensors.push_operation import CodatPushOperationSensor

__all__ = ["CodatDataFreshnessSensor", "CodatPushOperationSensor"]
