"""``CodatPushOperator`` writes records, ``CodatSyncSettingsOperator`` sets sync schedules."""

from airflow_provider_codat.operators.push import CodatPushOperator
from airflow_provider_codat.operators.sync_settings import CodatSyncSettingsOperator

__all__ = ["CodatPushOperator", "CodatSyncSettingsOperator"]
