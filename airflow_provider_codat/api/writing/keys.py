"""The idempotency keys of a task's write.

Codat does a POST once under one ``Idempotency-Key`` (https://docs.codat.io/using-the-api/idempotency). Every try of a
task instance starts at the same key, and a write that has come to nothing is followed by the next key of a chain, each
derived from the one before it alone, so that every try comes to the same keys.

The first key is made of the task instance, the deployment's name and the target, so that the same DAG in two
deployments, or for two companies, has two keys. The data connection is not part of it: where a company is linked anew
between two tries, the second one has to find the write of the first, and a key of its own would write a second record.
Codat refuses such a request, or answers with an operation of the other connection, which is not taken for the answer.
"""

from __future__ import annotations

import json
import uuid

from airflow_provider_codat.api.writing.stored import WriteTarget

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "airflow-provider-codat")


def task_instance_key(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the id of a task instance as a UUID, the same in every try. Version 0.1.0 began the chain with it."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps([dag_id, run_id, task_id, map_index])))


def first_key(task_instance: str, deployment: str | None, target: WriteTarget) -> str:
    """Return the first key of the chain of a task instance, which is given as its :func:`task_instance_key`."""
    where = [target.operation, target.company_id, target.data_type, target.record_id, target.account_id]
    return str(uuid.uuid5(uuid.UUID(task_instance), json.dumps([deployment, *where])))


def next_key(key: str) -> str:
    """Return the key after ``key``: that of a write after one that came to nothing."""
    return str(uuid.uuid5(uuid.UUID(key), "next"))


def resubmission_key(key: str, max_tries: int) -> str:
    """Return the key with which the chain begins after a clear with ``resubmit``; each clear raises ``max_tries``."""
    return str(uuid.uuid5(uuid.UUID(key), f"resubmitted at {max_tries}"))
