"""The demo's parts that need no Airflow process; tests/e2e runs the whole demo."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_runs import DagRun

from airflow_provider_codat import demo
from airflow_provider_codat.demo import airflow_stack, flavours, webhooks
from airflow_provider_codat.demo.airflow_stack import AirflowStack, AirflowStackError
from airflow_provider_codat.demo.deployment import SQLITE
from airflow_provider_codat.demo.processes import ProcessEnded, Processes

PYTHON = sys.executable

#: Ignores SIGTERM, and starts a process that has another session, group and parent.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""

#: Starts a stubborn process, prints its pids, and waits until the test kills it.
PARENT = """
import sys, time
from pathlib import Path
from airflow_provider_codat.demo.processes import Processes
with Processes({}, Path(sys.argv[1])) as processes:
    processes.start("stubborn", sys.executable, "-c", sys.argv[2])
    while len(processes.output("stubborn").split()) < 2:
        time.sleep(0.01)
    print(*processes.output("stubborn").split(), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lives(pid: int | str) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_leaving_the_block_ends_every_process_and_removes_the_home(home: Path):
    with Processes({}, home) as processes:
        processes.start("stubborn", PYTHON, "-c", STUBBORN)
        wait_for(lambda: len(processes.output("stubborn").split()) == 2)
        pids = processes.output("stubborn").split()
        assert str(processes.pid("stubborn")) in pids
        assert all(map(lives, pids))
    assert not any(map(lives, pids))
    assert not home.exists()


def test_reports_that_nobody_has_read_are_no_error_at_the_end(home: Path, capfd: pytest.CaptureFixture[str]):
    with Processes({}, home) as processes:
        processes.start("one", PYTHON, "-c", "")
        wait_for(lambda: select.select([processes._channel], [], [], 0)[0])
    assert capfd.readouterr().err == ""


def test_sigkill_of_the_parent_ends_every_process_and_removes_the_home(home: Path):
    parent = subprocess.Popen(  # noqa: S603 - the text above
        [PYTHON, "-c", PARENT, home, STUBBORN], stdout=subprocess.PIPE, text=True
    )
    with parent:
        pids = parent.stdout.readline().split()
        assert len(pids) == 2
        assert all(map(lives, pids))
        parent.kill()
        parent.wait()
        wait_for(lambda: not home.exists())
    assert not any(map(lives, pids))


def test_an_end_is_reported_with_the_last_output(home: Path):
    with Processes({}, home) as processes:
        with pytest.raises(ProcessEnded, match=r"(?s)one ended with status 3:.*so long"):
            processes.run("one", PYTHON, "-c", "print('so long'); raise SystemExit(3)")
        processes.start("two", PYTHON, "-c", "import time; time.sleep(600)")
        processes.check("two")
        os.kill(processes.pid("two"), signal.SIGKILL)
        assert processes.wait("two") == -signal.SIGKILL
        with pytest.raises(ProcessEnded, match="two ended with status -9"):
            processes.check("two")
        processes.start("two", PYTHON, "-c", "import time; time.sleep(600)")
        processes.check("two")


def test_a_name_can_be_used_again_and_a_process_sees_only_the_given_environment(home: Path):
    with Processes({"ONE": "1"}, home) as processes:
        for _ in range(2):
            processes.run("env", PYTHON, "-c", "import os, json; print(json.dumps([*os.environ]))")
        seen = [json.loads(line) for line in processes.output("env").splitlines()]
    assert len(seen) == 2
    assert all(set(names) - {"LC_CTYPE"} == {"ONE"} for names in seen)


def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(airflow_stack.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "dags").mkdir()
    stack = AirflowStack(tmp_path / "dags", env={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "nonsense://"})
    with pytest.raises(ProcessEnded, match="airflow migrate ended with status"), stack:
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["dags"]


class LockedAirflow:
    """Airflow's REST API where the database is locked now and then, which nobody can arrange for a real one."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def call(self, method: str, path: str, **options: object) -> None:
        if answer := self.answers.pop(0):
            raise AirflowStackError(answer)

    write = AirflowStack.write


def test_a_state_is_set_again_where_the_database_was_locked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(airflow_stack, "POLL_INTERVAL", 0)
    airflow = LockedAirflow("PATCH: 500 Database error", "PATCH: 500 Database error", "")
    DagRun(airflow, "dag", "run").mark("push", "failed")
    assert airflow.answers == []


def test_a_state_that_airflow_refuses_is_not_set_again():
    airflow = LockedAirflow("PATCH: 404 not found", "")
    with pytest.raises(AirflowStackError, match="404"):
        DagRun(airflow, "dag", "run").mark("push", "failed")
    assert airflow.answers == [""]


def test_the_api_server_waits_less_long_for_a_lock_than_the_other_services_do():
    connection = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    commands: dict[str, tuple[str, ...]] = {}
    airflow = AirflowStack()
    airflow._words, airflow.running = {"home": "/home"}, set()
    airflow.services = {"api-server": "api-server", "scheduler": "scheduler"}
    airflow.processes = SimpleNamespace(start=lambda name, *command: commands.update({name: command}))
    for name in airflow.services:
        airflow.start(name)
    assert f"{connection}=sqlite:////home/airflow.db?timeout=10" in commands["api-server"]
    assert not any(connection in word for word in commands["scheduler"])
    assert SQLITE.config[connection].endswith("?timeout=60")


def test_a_database_that_stays_locked_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(airflow_stack, "DATABASE_PATIENCE", 0)
    airflow = LockedAirflow("PATCH: 500 Database error", "")
    with pytest.raises(AirflowStackError, match="Database error"):
        DagRun(airflow, "dag", "run").mark("push", "failed")


def test_the_users_own_airflow_does_not_reach_the_stack():
    names = ("AIRFLOW_HOME", "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_MINE", "_AIRFLOW_WWW_USER_CREATE")
    users = dict.fromkeys(names, "mine") | {"LANG": "C", "PATH": "/bin"}
    env = flavours.environment(users, {"AIRFLOW_HOME": "{home}/x"}, {"home": "/home"})
    assert env == {
        "LANG": "C",
        "PATH": f"{Path(PYTHON).parent}:/bin",
        "AIRFLOW_HOME": "/home/x",
    }


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["codat-demo"])
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "rich" else object())
    with pytest.raises(SystemExit, match=r"needs rich: pip install 'airflow-provider-codat\[demo\]'"):
        demo.main()


def test_help_and_import_load_nothing_heavy():
    code = (
        "import sys; sys.argv = ['codat-demo', '--help']\n"
        "from airflow_provider_codat.demo import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'airflow', 'rich', 'httpx', 'starlette', 'uvicorn', 'requests'} & set(sys.modules)"
    )
    shown = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert "--keep-running" in shown


@pytest.mark.parametrize(
    ("version", "can_receive"),
    [("2.11.2", False), ("3.1.0", False), ("3.1.1", True), ("3.1.1rc1", True), ("3.2.0", True), ("3.10.0", True)],
)
def test_an_airflow_without_the_receiver_is_named(version: str, can_receive: bool):
    reason = webhooks.missing(version)
    assert reason == (None if can_receive else f"--webhooks needs Airflow 3.1.1 or later, and this is {version}")
