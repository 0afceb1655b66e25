"""What the triggers' tests need of Airflow."""

from airflow_provider_codat.tasks.start_from_trigger import triggerer_starts_tasks

collect_ignore = [] if triggerer_starts_tasks() else ["test_task_instance.py"]
