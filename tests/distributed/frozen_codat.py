"""A simulated Codat in a process of its own, which a test freezes. Run as a program, this file is that process."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx

from airflow_provider_codat.demo.processes import Processes
from airflow_provider_codat.simulator import CodatSimulator, Outcome

#: Seconds from a write to the end of its push operation, unless the process is told to end all: longer than any test.
LATENCY = 1800
#: Seconds within which the process must serve and answer.
PATIENCE = 300


class CodatProcess:
    """Runs during a ``with`` block; its own API says what it has. No push operation ends before :meth:`finish`."""

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            home = Path(tempfile.mkdtemp(prefix="codat-process-"))
            self._processes = entered.enter_context(Processes({"PATH": os.environ["PATH"]}, home))
            self.api_key = secrets.token_urlsafe(24)
            self._processes.start("codat", sys.executable, "-P", __file__, self.api_key)
            self.url = self._printed_url()
            headers = {"Authorization": "Basic " + base64.b64encode(self.api_key.encode()).decode()}
            client = httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=PATIENCE)
            self._client = entered.enter_context(client)
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _printed_url(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while not (printed := re.search(r"^Serves (.+)$", self._processes.output("codat"), re.MULTILINE)):
            self._processes.check("codat")
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return printed[1]

    @property
    def connection(self) -> str:
        """The Airflow connection."""
        return json.dumps({"conn_type": "codat", "host": self.url, "password": self.api_key})

    def companies(self) -> dict[str, str]:
        """Return the id of each company, and of its connection."""
        return {company["id"]: company["dataConnections"][0]["id"] for company in self._list("/companies")}

    def add_push(self, company_id: str, connection_id: str) -> str:
        """Write a bill, and return the key of its push operation."""
        path = f"/companies/{company_id}/connections/{connection_id}/push/bills"
        answer = self._client.post(path, json={"reference": "waited for"}).raise_for_status()
        return str(answer.json()["pushOperationKey"])

    def operations(self) -> dict[str, dict[str, Any]]:
        """Return the push operations of all companies by key; each success is one record."""
        found = [each for company_id in self.companies() for each in self._list(f"/companies/{company_id}/push")]
        return {operation["pushOperationKey"]: operation for operation in found}

    def _list(self, path: str) -> list[dict[str, Any]]:
        answer = self._client.get(path, params={"page": 1, "pageSize": 1000}).raise_for_status()
        return list(answer.json()["results"])

    def freeze(self) -> None:
        os.kill(self._processes.pid("codat"), signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._processes.pid("codat"), signal.SIGCONT)

    def finish(self) -> None:
        """End all push operations as successes, those that are not yet written, too."""
        os.kill(self._processes.pid("codat"), signal.SIGUSR1)


def serve(api_key: str) -> None:
    """Serve a simulated Codat until SIGTERM; end all push operations at SIGUSR1."""
    passed = 0.0
    codat = CodatSimulator(api_key=api_key, company_count=3, latency=LATENCY, clock=lambda: time.time() + passed)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    codat.start()
    print(f"Serves {codat.url}", flush=True)
    signal.sigwait({signal.SIGUSR1})
    codat.outcome(Outcome())
    passed = LATENCY
    signal.pause()


if __name__ == "__main__":
    serve(sys.argv[1])
