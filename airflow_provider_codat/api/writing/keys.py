"""The keys that a task's write is known by.

Codat does a POST once under one ``Idempotency-Key`` (https://docs.codat.io/using-the-api/idempotency). Every try of a
task instance starts at the same key, and a write that has come to nothing is followed by the next key of a chain, each
derived from the one before it alone: whoever walks the chain finds the same keys.

The first key is made of the task instance, the deployment's name and the target, so that the same DAG in two
deployments, or for two companies, has two keys. The data connection is not part of it: where a company is linked anew
between two tries, the second one has to find the write of the first, and a key of its own would write a second record.
Codat refuses such a request, or answers with an operation that tells of the other connection, which is no answer to it.
"""

from __future__ import annotations

import json
import uuid

from airflow_provider_codat.api.writing.target import WriteTarget

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "airflow-provider-codat")


def task_instance_key(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the id of a task instance as a version-5 UUID, the same in every try.

    Version 0.1.0 began the chain with it.

    :param dag_id: Airflow's id of the DAG.
    :param run_id: of the run.
    :param task_id: of the task.
    :param map_index: -1 for a task that is not mapped.
    """
    return str(uuid.uuid5(_NAMESPACE, json.dumps([dag_id, run_id, task_id, map_index])))


def first_key(task_instance: str, deployment: str | None, target: WriteTarget) -> str:
    """Return the key a task instance's chain begins with: a version-5 UUID.

    :param task_instance: what :func:`task_instance_key` returned.
    :param deployment: the deployment's name, or ``None``.
    :param target: where the write goes; its data connection does not count.
    """
    where = [target.operation, target.company_id, target.data_type, target.record_id, target.account_id]
    return str(uuid.uuid5(uuid.UUID(task_instance), json.dumps([deployment, *where])))


def next_key(key: str) -> str:
    """Return the key after ``key``: that of a write after one that came to nothing.

    It depends on nothing but the key, so each try comes to the same one, whatever it has seen of the write before.

    :param key: a key of the chain.
    """
    return str(uuid.uuid5(uuid.UUID(key), "next"))


def resubmission_key(key: str, max_tries: int) -> str:
    """Return the key that the chain begins with when a cleared task is to write again what it wrote.

    :param key: what the chain began with before.
    :param max_tries: Airflow's, which each clear raises.
    """
    return str(uuid.uuid5(uuid.UUID(key), f"resubmitted at {max_tries}"))
