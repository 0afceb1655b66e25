"""``CodatSyncSettingsOperator`` applies sync schedules, ``CodatPushOperator`` writes records, as steps of a DAG."""

from airflow_provider_codat.operators.push import CodatPushOperator
from airflow_provider_codat.operators.sync_settings import CodatSyncSettingsOperator

__all__ = ["CodatPushOperator", "CodatSyncSettingsOperator"]
