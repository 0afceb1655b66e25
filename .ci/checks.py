"""All checks: the tests on every supported Airflow, lint and types, and the distributions. Prints a table of results.

Needs a clean clone, Python 3.11, 3.12 and 3.13, a package index, and Chromium, PostgreSQL and Redis or root's right to
install Debian's.

Three steps run at a time, so that two cores are busy while a step waits:

- README command two, word for word: all tests on the newest Airflow. It takes the longest, so the other steps leave the
  processor to it.
- The distributions. Then each other job of ``versions.toml``: the wheel, and the tests of the source distribution that
  ``versions.toml`` does not leave out. The first of them has the newest Airflow's own constraints. Its environment
  first has the wheel by itself; after its tests come its real runs: the tests of a distributed Airflow, before those of
  command two start Airflow, too, and the browser tests; then the test with Codat's own client, and lint and types. At
  last README command one, word for word, in the unpacked source distribution.

Writes only below the clone (``.venv``, ``dist``, ``build/ci``) and to a temporary folder. ``build/ci`` holds each
step's output, test report and list of packages, and the files that tests write to ``CODAT_TEST_ARTIFACTS``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from commands import REPORTS, ROOT, Commands, Output, StepFailed, environment
from jobs import Job, find_python, installed, lower_bounds, read_report, table

CONSTRAINTS = ROOT / ".ci" / "constraints"
DIST = ROOT / "dist"
COMMAND = r"<!-- command {} -->\n```bash\n(.*?)^```$"

IMPORT_ALL = """
import importlib, pkgutil, airflow_provider_codat as package
names = [each.name for each in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    name.endswith((".__main__", ".pytest_plugin")) or importlib.import_module(name)
print(len(names), "modules below", package.__path__)
"""


@dataclass
class Ended:
    """How a step ended.

    :param problem: why it failed; ``None`` if it succeeded.
    :param seconds: how long it took.
    :param cpu: seconds of CPU time of its commands and of the processes that they waited for.
    """

    problem: str | None = "did not end"
    seconds: float = 0.0
    cpu: float = 0.0


class Checks:
    """One run of all checks.

    :param scratch: a folder that exists as long as the run.
    :param jobs: the jobs of ``versions.toml``; the last has the newest Airflow.
    :param e2e_everywhere: the end-to-end tests that run on every Airflow.
    :param at_both_ends: tests, by path, that run on the newest Airflow and with the lowest dependencies only.
    :param newest_only: tests, by path or by path and name, that run in command two only.
    :param fewer: environment variables that shorten the random tests outside command two.
    """

    def __init__(
        self,
        scratch: Path,
        jobs: list[Job],
        e2e_everywhere: list[str],
        at_both_ends: list[str],
        newest_only: list[str],
        fewer: dict[str, str],
    ) -> None:
        self.scratch = scratch
        self.jobs = jobs
        *self.others, self.newest = jobs
        self.e2e_everywhere = e2e_everywhere
        self.at_both_ends = at_both_ends
        self.newest_only = newest_only
        self.fewer = fewer
        (self.constrained,) = (
            job for job in self.others if (job.airflow, job.dependencies) == (self.newest.airflow, "constrained")
        )
        self.env = environment(scratch)
        self.tools = scratch / "tools" / "bin"
        self.source = scratch / "source"
        self.commands = Commands()
        self.started = time.monotonic()
        self.steps: dict[str, Ended] = {}
        self._printing = threading.Lock()

    def run(self) -> bool:
        """Run all checks, print the results, and return whether everything succeeded."""
        for folder in (REPORTS, DIST):
            shutil.rmtree(folder, ignore_errors=True)
        (REPORTS / "artifacts").mkdir(parents=True)
        try:
            with ThreadPoolExecutor(3) as pool:
                try:
                    self.run_steps(pool)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    self.commands.end()
                    raise
        finally:
            good = self.report()
        return good

    def run_steps(self, pool: ThreadPoolExecutor) -> None:
        """Run all steps, three at a time, the longest first."""
        rest = [pool.submit(self.step, self.newest.name, self.command_two, is_first=True)]
        pool.submit(self.step, "distributions", self.build).result()
        longest_first = sorted(self.others, key=lambda job: job is not self.constrained)
        rest += [pool.submit(self.steps_of, job) for job in longest_first]
        rest.append(pool.submit(self.step, "command one", self.command_one))
        for each in rest:
            each.result()

    def steps_of(self, job: Job) -> None:
        """Run a job's tests, and what else runs in its environment, one after the other."""
        if job is self.constrained:
            self.step("the wheel by itself", self.use_wheel)
        self.step(job.name, partial(self.test, job))
        if job is self.constrained:
            # With less of the processor, Airflow would take its own processes for dead.
            self.step("distributed", self.distribute, is_first=True)
            self.step("browser", self.browse)
            self.step("the official client", partial(self.test_group, "sdk"))
            self.step("S3", partial(self.test_group, "s3"))
            self.step("OpenLineage", partial(self.test_group, "openlineage"))
            self.step("lint and types", self.lint)

    def step(self, name: str, work: Callable[[Output], None], *, is_first: bool = False) -> None:
        """Run one step, print its output, and record how it ended. If it fails, the other steps go on.

        :param is_first: whether other steps leave the processor to it.
        """
        ended = self.steps[name] = Ended()
        began = time.monotonic()
        path = REPORTS / f"{name.replace(' ', '-')}.log"
        self.log(f"{name} begins")
        with path.open("w") as file:
            output = Output(file, self.env, self.commands, is_first=is_first)
            try:
                work(output)
                ended.problem = None
            except Exception as error:
                ended.problem = str(error) or repr(error)
        ended.seconds, ended.cpu = time.monotonic() - began, output.cpu
        times = f"{ended.seconds:.0f} s, {ended.cpu:.0f} s of CPU time"
        self.log(f"{name}\n{path.read_text(errors='replace')}== {name}: {ended.problem or 'ok'}, {times}")

    def log(self, text: str) -> None:
        """Print a text, undivided, with the seconds since the start."""
        with self._printing:
            print(f"\n== [{time.monotonic() - self.started:.0f} s] {text}", flush=True)

    # --- the steps ---------------------------------------------------------------------------------------------------

    def command_two(self, output: Output) -> None:
        """Run README command two."""
        shutil.rmtree(ROOT / ".venv", ignore_errors=True)
        self.run_readme("two", output, ROOT, pytest_options=f"--junitxml={self.newest.report}")

    def command_one(self, output: Output) -> None:
        """Run README command one in a folder of its own."""
        folder = self.scratch / "one"
        self.unpack(folder)
        self.run_readme("one", output, folder)

    def run_readme(self, number: str, output: Output, folder: Path, pytest_options: str = "") -> None:
        """Run a command of the README as printed, with the newest Airflow's Python as ``python3``."""
        command = re.search(COMMAND.format(number), (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
        if not command:
            raise StepFailed(f"README.md has no command {number}")
        # A script, not a link: a virtual environment would take the link's folder for Python's.
        python3 = self.scratch / f"python-of-{number}" / "python3"
        python3.parent.mkdir()
        python3.write_text(f'#!/bin/sh\nexec "{find_python(self.newest.python)}" "$@"\n')
        python3.chmod(0o755)
        output.run(
            *("bash", "-euo", "pipefail", "-c", command[1]),
            cwd=folder,
            PATH=os.pathsep.join([str(python3.parent), self.env["PATH"]]),
            PIP_CONSTRAINT=str(self.constraints(self.newest)),
            PYTEST_ADDOPTS=pytest_options,
        )

    def build(self, output: Output) -> None:
        """Build the source distribution, and the wheel from it, each in an environment of its own."""
        output.run(sys.executable, "-m", "venv", self.tools.parent)
        output.run(self.tools / "pip", "install", "--quiet", "uv", "twine")
        output.run(self.tools / "uv", "build", "--quiet", "--no-create-gitignore", "--out-dir", DIST)
        (sdist,) = DIST.glob("*.tar.gz")
        output.run(self.tools / "twine", "check", "--strict", sdist, self.wheel)
        self.unpack(self.source)

    def unpack(self, folder: Path) -> None:
        """Unpack the source distribution."""
        (sdist,) = DIST.glob("*.tar.gz")
        shutil.unpack_archive(sdist, self.scratch)
        (self.scratch / sdist.name.removesuffix(".tar.gz")).rename(folder)

    def test(self, job: Job, output: Output) -> None:
        """Run the tests of the source distribution against the wheel, with a job's Airflow."""
        self.install(job, output)
        output.run(
            *(self.prefix(job) / "bin" / "pytest", "--quiet", "-p", "no:cacheprovider", f"--junitxml={job.report}"),
            *self.tests_of(job),
            cwd=self.source,
            PYTHONSAFEPATH="1",  # so that the tests' processes import the package from the wheel, not from here
            **self.fewer,
        )

    def tests_of(self, job: Job) -> list[str]:
        """Return pytest's options that leave out what a job does not run."""
        if job.lowest:
            return leave_out(["tests/e2e", *self.newest_only])
        e2e = {path.relative_to(self.source).as_posix() for path in (self.source / "tests/e2e").glob("test_*.py")}
        elsewhere = {"tests/e2e"} if job is self.constrained else e2e - {*self.e2e_everywhere}
        return leave_out({*elsewhere, *self.at_both_ends, *self.newest_only})

    def install(self, job: Job, output: Output) -> None:
        """Fill a job's environment: its Airflow, the wheel, and the tests' requirements."""
        for pin, reason in job.pins.items():
            output.log(f"{pin}: {reason}")
        prefix, requirements = self.prefix(job), REPORTS / f"{job.name}.txt"
        if not prefix.exists():
            self.make_environment(job, output)
        output.run(
            *(self.tools / "uv", "pip", "compile", "--quiet", "--python", prefix / "bin" / "python"),
            *("--constraint", self.constraints(job), "--resolution", "lowest-direct" if job.lowest else "highest"),
            *("--no-annotate", "--no-header", "--output-file", requirements),
            *("--extra", "test", self.source / "pyproject.toml"),
        )
        self.uv_install(output, prefix, "--requirement", requirements, self.wheel)

    def make_environment(self, job: Job, output: Output) -> None:
        """Make a job's environment, with nothing but pip in it."""
        output.run(
            *(self.tools / "uv", "venv", "--quiet", "--seed"), "--python", find_python(job.python), self.prefix(job)
        )

    def use_wheel(self, output: Output) -> None:
        """Install only the wheel and its requirements, and use it: the first step in an environment."""
        prefix, empty = self.prefix(self.constrained), self.scratch / "empty"
        empty.mkdir()
        self.make_environment(self.constrained, output)
        self.uv_install(output, prefix, "--constraint", self.constraints(self.constrained), f"{self.wheel}[demo]")
        home = {"AIRFLOW_HOME": str(self.scratch / "airflow")}
        output.run(prefix / "bin" / "python", "-I", "-c", IMPORT_ALL, cwd=empty, **home)
        output.run(prefix / "bin" / "airflow", "providers", "get", "airflow-provider-codat", cwd=empty, **home)
        output.run(prefix / "bin" / "codat-demo", "--help", cwd=empty)

    def browse(self, output: Output) -> None:
        """Run the browser tests against the user interface of the newest Airflow."""
        # The paths that tests/browser/chromium.py uses.
        wanted = {"CHROMIUM": "/usr/bin/chromium", "CHROMEDRIVER": "/usr/bin/chromedriver"}
        if not all(Path(os.environ.get(name, usual)).exists() for name, usual in wanted.items()):
            self.apt_install(output, "chromium", "chromium-driver")
        self.test_group("browser", output)

    def distribute(self, output: Output) -> None:
        """Run the tests of an Airflow with PostgreSQL, Redis and Celery."""
        # Where tests/support/backends.py looks for them.
        has_postgres = shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not (has_postgres and shutil.which("redis-server")):
            self.apt_install(output, "postgresql", "redis-server")
        self.test_group("distributed", output)

    def apt_install(self, output: Output, *packages: str) -> None:
        """Install packages of Debian."""
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            output.run("apt-get", "--quiet", "--quiet", *command, DEBIAN_FRONTEND="noninteractive")

    def test_group(self, name: str, output: Output) -> None:
        """Install a dependency group into the environment of :attr:`constrained`, and run the tests that need it."""
        self.uv_install(output, self.prefix(self.constrained), "--group", name)
        output.run(
            *(self.prefix(self.constrained) / "bin" / "pytest", "--quiet", "-p", "no:cacheprovider"),
            *(f"--junitxml={REPORTS / f'{name}.xml'}", f"tests/{name}"),
            PYTHONSAFEPATH="1",
        )

    def lint(self, output: Output) -> None:
        """Check format, lint and types."""
        tools = self.prefix(self.constrained) / "bin"
        output.run(tools / "ruff", "format", "--check", ".")
        output.run(tools / "ruff", "check", ".")
        output.run(tools / "mypy")
        output.run(tools / "mypy", ".ci/checks.py")

    def uv_install(self, output: Output, prefix: Path, *what: str | Path) -> None:
        """Install into an environment."""
        output.run(self.tools / "uv", "pip", "install", "--quiet", "--python", prefix, *what)

    def constraints(self, job: Job) -> Path:
        """Write the constraints of a job's environment to a file and return its path."""
        lines = [f"apache-airflow=={job.airflow}.*", *job.pins]
        if job.lowest:
            lines += lower_bounds()
        if job.dependencies == "constrained":
            (own,) = CONSTRAINTS.glob(f"{job.airflow}.*.txt")
            lines += own.read_text().splitlines()
        path = self.scratch / f"{job.name}.constraints"
        path.write_text("\n".join([*lines, ""]))
        return path

    def prefix(self, job: Job) -> Path:
        """Return the folder of a job's environment."""
        return ROOT / ".venv" if job is self.newest else self.scratch / job.name

    @property
    def wheel(self) -> Path:
        """The path of the built wheel."""
        (wheel,) = DIST.glob("*.whl")
        return wheel

    # --- the tables --------------------------------------------------------------------------------------------------

    def report(self) -> bool:
        """Print how each step ended and the table of versions; return whether everything succeeded."""
        steps = [
            (name, f"{ended.seconds:.0f} s", f"{ended.cpu:.0f} s", ended.problem or "ok")
            for name, ended in self.steps.items()
        ]
        rows = [self.row(job) for job in self.jobs]
        versions = table(("Airflow", "dependencies", "Python", "tests passed", "real run", "result"), rows)
        self.log(f"the end\n\n{table(('step', 'time', 'CPU time', 'result'), steps)}\n{versions}")
        (REPORTS / "versions.md").write_text(versions)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(summary).open("a") as file:
                file.write(versions)
        return all(line[-1] == "ok" for line in [*steps, *rows])

    def row(self, job: Job) -> tuple[str, ...]:
        """Return a job's line of the table: the installed versions, its test report, and how its step ended."""
        airflow, python = installed(self.prefix(job)) or (job.airflow, "-")
        ended = self.steps.get(job.name, Ended())
        passed, real_run, problem = read_report(job.report) if job.report.exists() else ("-", "-", ended.problem)
        if real_run == "-" and not (job.lowest or job is self.constrained):
            problem = problem or "no real run"
        if not f"{airflow}.".startswith(f"{job.airflow}."):
            problem = f"is not Airflow {job.airflow}"
        return airflow, job.dependencies, python, passed, real_run, problem or ended.problem or "ok"


def leave_out(tests: Iterable[str]) -> list[str]:
    """Return the options with which pytest leaves out tests, by path or by path and name."""
    return [f"--{'deselect' if '::' in each else 'ignore'}={each}" for each in sorted(tests)]


def main() -> None:
    """Run all checks; the exit status is 0 if all succeed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    config: dict[str, Any] = tomllib.loads(Path(__file__).with_name("versions.toml").read_text())
    jobs = [Job(**each) for each in config.pop("job")]
    with tempfile.TemporaryDirectory(prefix="codat-checks-", ignore_cleanup_errors=True) as scratch:
        good = Checks(Path(scratch), jobs, **config).run()
    sys.exit(not good)


if __name__ == "__main__":
    main()
