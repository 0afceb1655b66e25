"""The operators.

``CodatPushOperator`` writes records, ``CodatSyncSettingsOperator`` sets sync schedules, ``CodatRefreshOperator``
refreshes data, and ``CodatExtractOperator`` reads records into files.
"""

from airflow_provider_codat.operators.extract import CodatExtractOperator
from airflow_provider_codat.operators.push import CodatPushOperator
from airflow_provider_codat.operators.refresh import CodatRefreshOperator
from airflow_provider_codat.operators.sync_settings import CodatSyncSettingsOperator

__all__ = ["CodatExtractOperator", "CodatPushOperator", "CodatRefreshOperator", "CodatSyncSettingsOperator"]
