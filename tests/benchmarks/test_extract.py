"""Both readers of the benchmark read all records, write the same lines, and send a request a page and a few more."""

from __future__ import annotations

from benchmarks.extract import PAGE_SIZE, READERS, _lines

from airflow_provider_codat.simulator import CodatSimulator

RECORDS, PAGES = 2_500, 3


def test_both_readers_do_the_same(tmp_path, monkeypatch):
    assert PAGES == -(-RECORDS // PAGE_SIZE)
    found, requests = {}, {}
    with CodatSimulator(record_count=RECORDS) as codat:
        company = codat.add_company()
        codat.refreshes.add(company.id, "invoices")
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection(requests_per_minute=60_000))
        for name, reader in READERS.items():
            folder = tmp_path / name
            folder.mkdir()
            run = reader(company.id, str(folder))
            before = len(codat.requests)
            run()
            found[name], requests[name] = _lines(str(folder)), len(codat.requests) - before
    assert found["ours"] == found["plain"]
    assert found["ours"][0] == RECORDS
    assert requests == {"ours": PAGES + 3, "plain": PAGES}
