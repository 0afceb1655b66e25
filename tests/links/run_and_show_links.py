"""A run of a DAG, and where the links of its tasks lead: printed as JSON, ``{"task[map index]": link}``.

Airflow runs all of it in this one process, but keeps what a task stores in a database and shows the links of a DAG that
was serialized, as its web server does.
"""

import json

import one_api_server  # noqa: F401 - for what it does on import
from airflow.models.taskinstance import TaskInstance
from airflow.providers.common.compat.sdk import DAG, BaseOperator, task
from airflow.serialization import serialized_objects
from airflow.triggers.base import BaseTrigger, TriggerEvent
from airflow.utils import db
from airflow.utils.session import create_session

from airflow_provider_codat.links.codat import CodatCompanyLink, store_company_link


class AtOnce(BaseTrigger):
    """A trigger that has nothing to wait for."""

    def serialize(self):
        return "__main__.AtOnce", {}

    async def run(self):
        yield TriggerEvent("done")


class Visit(BaseOperator):
    """A task about a company."""

    template_fields = ("company_id",)
    operator_extra_links = (CodatCompanyLink(),)

    def __init__(self, *, company_id, deferrable=False, **kwargs):
        super().__init__(**kwargs)
        self.company_id = company_id
        self.deferrable = deferrable

    def execute(self, context):
        store_company_link(context["ti"], self.company_id)
        if self.deferrable:
            self.defer(trigger=AtOnce(), method_name="resume")

    def resume(self, context, event):
        pass


with DAG("links", schedule=None, params={"company_id": "from-params"}) as dag:

    @task
    def one():
        return "from-xcom"

    @task
    def several():
        return ["mapped-0", "mapped-1"]

    Visit(task_id="literal", company_id="literal")
    Visit(task_id="template", company_id="{{ params.company_id }}")
    Visit(task_id="xcom", company_id=one())
    Visit(task_id="deferred", company_id="{{ params.company_id }}", deferrable=True)
    Visit.partial(task_id="mapped").expand(company_id=several())
    Visit.partial(task_id="mapped_alike", company_id="{{ params.company_id }}").expand(deferrable=[False, True])
    Visit(task_id="failed", company_id="{{ params.no.such.thing }}")


if __name__ == "__main__":
    db.initdb()
    run = dag.test()
    serialization = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    shown = serialization.from_dict(serialization.to_dict(dag))
    with create_session() as session:
        task_instances = session.query(TaskInstance).filter_by(run_id=run.run_id).all()
        links = {
            f"{ti.task_id}[{ti.map_index}]": shown.get_task(ti.task_id).get_extra_links(ti, "Codat company")
            for ti in task_instances
            if "Codat company" in shown.get_task(ti.task_id).extra_links
        }
    print(json.dumps(links))
