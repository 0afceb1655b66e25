"""What Airflow discovers through the ``apache_airflow_provider`` entry point. Imports nothing but a table."""

from typing import Any

from airflow_provider_codat.hooks.connection_form import declared_form


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-codat",
        "name": "Codat",
        "description": "`Codat <https://docs.codat.io/>`__: accounting, banking and commerce data of small businesses.",
        "integrations": [
            {
                "integration-name": "Codat",
                "external-doc-url": "https://docs.codat.io/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.hooks.codat"]}],
        "operators": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.operators.codat"]}],
        "sensors": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.sensors.codat"]}],
        "triggers": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.triggers.codat"]}],
        "connection-types": [
            {
                "connection-type": "codat",
                "hook-class-name": "airflow_provider_codat.hooks.codat.CodatHook",
                "hook-name": "Codat",
                **declared_form(),
            }
        ],
        "extra-links": ["airflow_provider_codat.links.codat.CodatCompanyLink"],
    }
