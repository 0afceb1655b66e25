"""The idempotency keys of a task's write.

Codat does a POST once under one idempotency key (https://docs.codat.io/using-the-api/idempotency). The keys of a task
instance form a *chain*: each key is derived from the one before it, so every try computes the same chain. Every try
begins with the first key. After a write that wrote no record, the next key is used.

The first key is derived from the task instance, the deployment's name and the target. So the same DAG has different
keys in two deployments, or for two companies. The data connection is not part of the key: a company may be linked again
between two tries. The second try must then find the write of the first; with another key it would write a second
record. With the same key, Codat refuses the second try's request, or answers with the first try's operation. That
operation has another data connection, so the try raises an error instead of writing again.
"""

from __future__ import annotations

import json
import uuid

from airflow_provider_codat.api.writing.stored import WriteTarget

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "airflow-provider-codat")


def task_instance_key(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return a UUID for a task instance, the same in each try. In version 0.1.0 it was the first key of the chain."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps([dag_id, run_id, task_id, map_index])))


def first_key(task_instance: str, deployment: str | None, target: WriteTarget) -> str:
    """Return the first key of a chain; ``task_instance`` is a :func:`task_instance_key`."""
    where = [target.operation, target.company_id, target.data_type, target.record_id, target.account_id]
    return str(uuid.uuid5(uuid.UUID(task_instance), json.dumps([deployment, *where])))


def next_key(key: str) -> str:
    """Return the key after ``key`` in the chain."""
    return str(uuid.uuid5(uuid.UUID(key), "next"))


def resubmission_key(key: str, max_tries: int) -> str:
    """Return the first key of the chain after a clear with ``resubmit``. Each clear raises ``max_tries``."""
    return str(uuid.uuid5(uuid.UUID(key), f"resubmitted at {max_tries}"))
