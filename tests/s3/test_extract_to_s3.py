"""``CodatExtractOperator`` writes to a real S3 API: moto's server, through Airflow's own S3 file system."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import boto3
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from moto.server import ThreadedMotoServer

from airflow_provider_codat.operators.codat import CodatExtractOperator

BUCKET = "books"


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint, monkeypatch):
    """Return a client of the server, which has an empty bucket, and make the connection ``aws_test``."""
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "eu-west-1"}
    extra = {"endpoint_url": endpoint, "region_name": "eu-west-1"}
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TEST", json.dumps(connection))
    s3 = boto3.client("s3", endpoint_url=endpoint, **keys)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield s3
    for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=each["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def invoices(codat_simulator, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat_simulator.connection(requests_per_minute=60_000))
    company = codat_simulator.add_company()
    source = codat_simulator.source(company.id, "invoices")
    for number in range(25):
        source.add({"id": f"i{number}", "totalAmount": number})
    codat_simulator.refreshes.add(company.id, "invoices")
    return source


@pytest.mark.parametrize(
    "where", [{"path": f"s3://aws_test@{BUCKET}/codat"}, {"path": f"s3://{BUCKET}/a b/", "storage_conn_id": "aws_test"}]
)
def test_runs_on_s3(codat_simulator, invoices, s3, where):
    (company,) = codat_simulator.companies

    def run(run_id, try_number=1):
        operator = CodatExtractOperator(
            task_id="extract", company_id=company.id, data_type="invoices", page_size=10, file_size=0, **where
        )
        names = {"dag_id": "dag", "task_id": "extract", "run_id": run_id, "map_index": -1}
        ti = SimpleNamespace(**names, try_number=try_number, xcom_push=lambda **_: None)
        return operator.execute({"ti": ti})

    def keys():
        return [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]

    def content(key):
        return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    xcom = run("run-1")
    (manifest_key,) = [each for each in keys() if each.endswith("manifest.json")]
    folder = manifest_key.removesuffix("manifest.json")
    manifest = json.loads(content(manifest_key))
    assert [each["records"] for each in manifest["files"]] == [10, 10, 5]
    lines = [gzip.decompress(content(folder + each["name"])).splitlines() for each in manifest["files"]]
    assert {json.loads(line)["id"] for part in lines for line in part} == {f"i{number}" for number in range(25)}
    # What XCom names can be opened in a task after it.
    assert [
        ObjectStoragePath(path, conn_id="aws_test").read_bytes() == content(folder + each["name"])
        for path, each in zip(xcom["paths"], manifest["files"], strict=True)
    ] == [True, True, True]

    before = {key: content(key) for key in keys()}
    s3.put_object(Bucket=BUCKET, Key=f"{folder}part-0-00001.jsonl.gz", Body=b"of a try that failed")
    assert run("run-1", try_number=2) == xcom
    assert {key: content(key) for key in keys()} == before

    invoices.modify("i3", totalAmount=30)
    codat_simulator.refreshes.add(company.id, "invoices")
    second = run("run-2")
    assert second["since"] == xcom["watermark"]
    assert any(key.endswith("run-2/manifest.json") for key in keys())
