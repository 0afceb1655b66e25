"""``CodatPushOperator`` writes records, ``CodatRefreshOperator`` refreshes, ``CodatSyncSettingsOperator`` schedules."""

from airflow_provider_codat.operators.push import CodatPushOperator
from airflow_provider_codat.operators.refresh import CodatRefreshOperator
from airflow_provider_codat.operators.sync_settings import CodatSyncSettingsOperator

__all__ = ["CodatPushOperator", "CodatRefreshOperator", "CodatSyncSettingsOperator"]
