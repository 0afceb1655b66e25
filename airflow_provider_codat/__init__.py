"""Apache Airflow provider for Codat, one API to the books of small businesses (https://docs.codat.io)."""

__version__ = "0.2.0"
