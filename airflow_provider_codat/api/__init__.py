"""Codat as values and pure functions: no Airflow, no sockets, no clock of its own."""
