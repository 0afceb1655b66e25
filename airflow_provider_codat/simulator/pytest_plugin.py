"""pytest fixtures for the tests of your own DAGs. Installing this package registers them.

pytest imports this module in every session, so it imports only pytest. The simulator is imported when a test uses it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_codat.simulator import CodatSimulator


@pytest.fixture
def codat_simulator() -> Iterator[CodatSimulator]:
    """Run an empty :class:`CodatSimulator` on a free port for the length of one test.

    A fault that has been played on no request causes a warning: the test has not tested it.
    """
    from airflow_provider_codat.simulator import CodatSimulator

    with CodatSimulator() as codat:
        yield codat
        for fault in codat.faults_not_played:
            warnings.warn(
                f"No request has met {fault}; its path is a regular expression for the whole path of a request, such as"
                " r'/companies/.*/push/bills'.",
                UserWarning,
                stacklevel=1,
            )


@pytest.fixture
def codat_connection(codat_simulator: CodatSimulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the Airflow connection ``codat_default`` at ``codat_simulator``; the value is that connection's id."""
    monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat_simulator.connection_uri)
    return "codat_default"
