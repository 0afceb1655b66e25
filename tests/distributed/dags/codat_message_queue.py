"""A DAG that starts when push operations of a company have ended, which the watcher of a message queue reports."""

import os

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetWatcher

from airflow_provider_codat.assets import codat_data_asset, data_uri

WATCHED = os.environ["CODAT_WATCHED"]

trigger = MessageQueueTrigger(
    scheme="codat",
    asset_name=data_uri(WATCHED, "bills"),
    company_id=WATCHED,
    events=["bills.write.successful"],
    poll_interval=5.0,
)
pushed = codat_data_asset(WATCHED, "bills", watchers=[AssetWatcher(name="codat", trigger=trigger)])

with DAG("codat_message_queue", schedule=[pushed], catchup=False):
    EmptyOperator(task_id="pushed")
