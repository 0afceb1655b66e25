from airflow_log import told

__all__ = ["told"]
