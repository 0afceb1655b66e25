"""Loaded by Airflow as it starts: the scheduler or the Celery worker imports what each task needs: tasks are its forks.

A task that is forked without these modules imports them itself, which takes about 0.4 seconds of CPU.
"""

import sys

from airflow import __version__ as airflow_version

if airflow_version >= "3" and {"scheduler", "celery"} & set(sys.argv):
    from importlib import import_module

    for name in (
        "airflow.providers.standard.decorators.python",
        "airflow.sdk.definitions.connection",
        "airflow.sdk.execution_time.supervisor",
        "airflow.sdk.execution_time.task_runner",
        "airflow_provider_codat.api.refreshing.queueing",
        "airflow_provider_codat.api.writing.write",
        "airflow_provider_codat.hooks.codat",
        "airflow_provider_codat.operators.codat",
        "airflow_provider_codat.sensors.codat",
        "airflow_provider_codat.tasks.earlier_refreshes",
        "airflow_provider_codat.tasks.end_from_trigger",
        "airflow_provider_codat.triggers.codat",
        "httpx",
        "requests",
    ):
        import_module(name)
