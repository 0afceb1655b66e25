"""Makes ``dag.test()`` cheap: the tasks of a process share one API server of Airflow.

``dag.test()`` of Airflow 3 builds a new API server for each task instance, which takes one to three seconds.
Import this module before the first run.
"""

from functools import cache

try:
    from airflow.sdk.execution_time import supervisor
except ImportError:  # in Airflow 2, a task reads and writes the database itself
    pass
else:
    supervisor.in_process_api_server = cache(supervisor.in_process_api_server)
