"""Loaded by Airflow as it starts: the scheduler imports what each task needs, and the tasks of Airflow 3 are its forks.

A task that is forked without these modules imports them itself, which takes a third of its CPU time.
"""

import sys

from airflow import __version__ as airflow_version

if airflow_version >= "3" and "scheduler" in sys.argv:
    import httpx  # noqa: F401
    import requests  # noqa: F401

    import airflow_provider_codat.hooks.codat
    import airflow_provider_codat.operators.codat
    import airflow_provider_codat.sensors.codat  # noqa: F401
