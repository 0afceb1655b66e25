"""Loaded by Airflow as it starts: the scheduler or the Celery worker imports what each task needs: tasks are its forks.

A task that is forked without these modules imports them itself, which takes up to 0.7 seconds of CPU.
"""

import sys

from airflow import __version__ as airflow_version

if airflow_version >= "3" and {"scheduler", "celery"} & set(sys.argv):
    from importlib import import_module
    from importlib.util import find_spec

    for name in (
        "airflow.dag_processing.bundles.local",
        "airflow.dag_processing.dagbag",  # since Airflow 3.2
        "airflow.providers.standard.decorators.python",
        "airflow.providers.standard.operators.empty",
        "airflow.sdk.definitions.connection",
        "airflow.sdk.definitions.decorators",
        "airflow.sdk.execution_time.cache",
        "airflow.sdk.execution_time.supervisor",
        "airflow.sdk.execution_time.task_runner",
        "airflow_provider_codat.api.refreshing.queueing",
        "airflow_provider_codat.api.writing.write",
        "airflow_provider_codat.hooks.codat",
        "airflow_provider_codat.operators.codat",
        "airflow_provider_codat.plugin",
        "airflow_provider_codat.retry_policy",
        "airflow_provider_codat.sensors.codat",
        "airflow_provider_codat.tasks.earlier_refreshes",
        "airflow_provider_codat.tasks.end_from_trigger",
        "airflow_provider_codat.tasks.start_from_trigger",
        "airflow_provider_codat.triggers.codat",
        "httpx",
        "jinja2.meta",
        "requests",
    ):
        if find_spec(name):
            import_module(name)
