"""``CodatPushOperationSensor``: gates a DAG on a push operation's terminal status."""

from airflow_provider_codat.sensors.push_operation import CodatPushOperationSensor

__all__ = ["CodatPushOperationSensor"]
