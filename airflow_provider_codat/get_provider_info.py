"""What Airflow reads through the ``apache_airflow_provider`` entry point.

Every Airflow process loads this module. It imports only ``hooks/form.py``, which needs the standard library alone.
"""

from typing import Any

from airflow_provider_codat.hooks.form import declared_form

ASSET_URIS = {
    "schemes": ["codat"],
    "handler": "airflow_provider_codat.assets.sanitize_uri",
    "factory": "airflow_provider_codat.assets.create_asset",
    "to_openlineage_converter": "airflow_provider_codat.assets.convert_asset_to_openlineage",
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-codat",
        "name": "Codat",
        "description": "`Codat <https://docs.codat.io/>`__: accounting, banking and commerce data of small businesses.",
        "integrations": [
            {"integration-name": "Codat", "external-doc-url": "https://docs.codat.io/", "tags": ["service"]}
        ],
        "hooks": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.hooks.codat"]}],
        "operators": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.operators.codat"]}],
        "sensors": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.sensors.codat"]}],
        "triggers": [{"integration-name": "Codat", "python-modules": ["airflow_provider_codat.triggers.codat"]}],
        "queues": ["airflow_provider_codat.triggers.message_queue.CodatMessageQueueProvider"],
        "config": {
            "codat": {
                "description": "Settings of the Codat provider.",
                "options": {
                    "deployment": {
                        "description": (
                            "The name of this deployment of Airflow. It is part of the idempotency keys of"
                            " CodatPushOperator. Set it if several deployments run the same DAG with the same Codat"
                            " account. Change it only while no task is between two tries."
                        ),
                        "type": "string",
                        "version_added": "0.2.0",
                        "example": "production",
                        "default": "",
                    },
                    "scoped_keys_since": {
                        "description": (
                            "Before Airflow 3.3: the time of the upgrade from version 0.1.0 of this provider, ISO 8601."
                            " DAG runs due before it keep the idempotency keys of that version, so that a retry"
                            " after the upgrade finds a write from before it. Remove the option once none of these"
                            " runs is retried or cleared any more."
                        ),
                        "type": "string",
                        "version_added": "0.2.0",
                        "example": "2026-12-01T06:00:00+00:00",
                        "default": "",
                    },
                    "webhook_connections": {
                        "description": (
                            "From Airflow 3.1.1 on: the ids of the connections whose webhooks the API server receives,"
                            " separated by commas. The path of each is /codat/webhooks/ and the id. On Airflow 3.3"
                            " triggerers need it, too: webhooks then wake tasks that wait. Default none."
                        ),
                        "type": "string",
                        "version_added": "0.2.0",
                        "example": "codat_default,codat_sandbox",
                        "default": "",
                    },
                },
            }
        },
        "connection-types": [
            {
                "connection-type": "codat",
                "hook-class-name": "airflow_provider_codat.hooks.codat.CodatHook",
                "hook-name": "Codat",
                **declared_form(),
            }
        ],
        "asset-uris": [ASSET_URIS],
        "dataset-uris": [ASSET_URIS],  # what Airflow 2.11 reads
        "extra-links": ["airflow_provider_codat.links.codat.CodatCompanyLink"],
    }
