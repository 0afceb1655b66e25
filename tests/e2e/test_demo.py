"""``codat-demo`` as a user starts it, and what it leaves, whatever ends it.

``.ci/checks.py`` runs the demo without options, to its end.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parents[2] / "airflow_provider_codat/simulator/README.md"
ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


class Demo:
    """A running ``codat-demo`` with its own temporary directory, whose processes have a mark in their environment."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.mark = f"CODAT_DEMO_TEST={uuid4()}"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.home_of_the_user = folder / "airflow"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(  # noqa: S603 - our own script
            [Path(sys.executable).with_name("codat-demo"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                name: value,
                "TMPDIR": str(self.temporary),
                "PYTHONUNBUFFERED": "1",
                "AIRFLOW_HOME": str(self.home_of_the_user),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "nonsense://",
            },
        )
        self.output = ""

    def read(self, until: str | None = None) -> None:
        """Read output up to a line that contains the text, or to the end."""
        for line in self.process.stdout:
            self.output += line
            if until and until in line:
                return
        assert until is None, f"{until!r} is not in the output:\n{self.output}"

    def processes(self) -> list[str]:
        return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if self._is_ours(path)]

    def _is_ours(self, environ: Path) -> bool:
        try:
            return self.mark.encode() in environ.read_bytes().split(b"\0")
        except OSError:
            return False

    def ports(self) -> set[int]:
        return {int(port) for port in ADDRESS.findall(self.output)}

    def what_is_left(self) -> dict[str, list[object]]:
        return {
            "processes": self.processes(),
            "ports": [port for port in self.ports() if accepts(port)],
            "files": list(self.temporary.iterdir()) + list(self.home_of_the_user.parent.glob("airflow")),
        }


NOTHING = {"processes": [], "ports": [], "files": []}


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def demo_with_webhooks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Return a demo that goes on until a signal. It runs beside other tests."""
    yield from run_demo(tmp_path_factory.mktemp("webhooks"), "--webhooks", "--keep-running")


@pytest.fixture
def demo(tmp_path: Path, demo_with_webhooks: Demo) -> Iterator[Demo]:
    """Return a demo that starts after the other one."""
    yield from run_demo(tmp_path)


def run_demo(folder: Path, *options: str) -> Iterator[Demo]:
    demo = Demo(folder, *options)
    with demo.process:
        yield demo
        demo.process.kill()


def shape(line: str) -> str:
    """Return a line without what differs between runs: numbers, ids, and the widths of tables."""
    return re.sub(r"[ ━─]+", " ", re.sub(r"[0-9a-f]*\d[0-9a-f.:TZ-]*", "#", line)).strip()


def not_printed(output: str) -> list[str]:
    """Return the lines that the guide shows and the demo has not printed, or not in this order."""
    (shown,) = re.findall(r"^```text\n([^`]*codat_onboard_company[^`]*)^```$", GUIDE.read_text(), re.MULTILINE)
    printed = iter([shape(line) for line in output.splitlines()])
    return [line for line in shown.splitlines() if line.strip() != "…" and shape(line) not in printed]


def test_even_sigkill_leaves_nothing(demo: Demo) -> None:
    demo.read(until="airflow db migrate")
    # The demo, its supervisor and Airflow. Other tests end all services of an Airflow, and those that ignore a signal.
    while len(demo.processes()) < 3:
        assert demo.process.poll() is None, demo.output
        time.sleep(0.05)

    demo.process.kill()

    demo.process.wait()
    deadline = time.monotonic() + 60
    while demo.what_is_left() != NOTHING and time.monotonic() < deadline:
        time.sleep(0.1)
    assert demo.what_is_left() == NOTHING


def test_it_prints_what_the_guide_shows_and_ctrl_c_leaves_nothing(demo_with_webhooks: Demo) -> None:
    demo = demo_with_webhooks
    demo.read(until="Still running, until Ctrl-C")
    assert "codat_onboard_company ended: success" in demo.output
    assert "codat_extract_on_webhook ended: success" in demo.output
    assert re.search(r"suppliers\.write\.successful +│ \d +│ 200 ", demo.output)
    assert re.search(r"read\.completed\.initial +│ \d +│ 200 ", demo.output)
    assert re.search(r"bills +│ syncSchedule +│ 720 +│ 24 ", demo.output)
    assert re.search(r"record id │ [0-9a-f-]{36}", demo.output)
    assert re.search(r"POST +│ /companies/\{companyId\}/connections/\{connectionId\}/push/suppliers +│ 1 ", demo.output)
    assert re.search(r"GET +│ /companies/\{companyId\}/push/\{pushOperationKey\} +│ [1-9]", demo.output)
    assert not_printed(demo.output) == []
    assert len(demo.processes()) > 5
    assert len(demo.ports()) == 2
    assert all(accepts(port) for port in demo.ports())

    demo.process.send_signal(signal.SIGINT)

    demo.read()
    assert demo.process.wait() == 128 + signal.SIGINT, demo.output
    assert "Everything is removed." in demo.output
    assert "Traceback" not in demo.output
    assert demo.what_is_left() == NOTHING
