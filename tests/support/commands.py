"""Commands that wait more than they work. They run while other tests do, one after the other.

``tests/conftest.py`` starts each :class:`Command` that is an attribute of a test module after the collection.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds that a command may take.
PATIENCE = 240


class Command:
    """A command that runs in a folder of its own.

    :param write_files: writes what the command needs to the folder; default nothing.
    """

    def __init__(
        self, *command: str, env: Mapping[str, str], write_files: Callable[[Path], None] = lambda folder: None
    ) -> None:
        self._command = command
        self._env = env
        self._write_files = write_files
        self._output: Future[str] = Future()

    @functools.cached_property
    def folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="folder-of-a-command-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    @functools.cache  # noqa: B019 - a command is as long-lived as its test module
    def start(self) -> None:
        """Let the command run after those that were started before."""
        _started().put(self)

    def output(self) -> str:
        """Wait for the end of the command and return what it has printed, if it has succeeded."""
        self.start()
        return self._output.result()

    def run(self) -> None:
        try:
            self._output.set_result(self._run())
        except BaseException as error:
            self._output.set_exception(error)

    def _run(self) -> str:
        self._write_files(self.folder)
        process = subprocess.Popen(  # noqa: S603 - what the tests choose
            self._command,
            cwd=self.folder,
            env={**self._env, "TMPDIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        atexit.register(process.kill)
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0, output
        return output


@functools.cache
def _started() -> SimpleQueue[Command]:
    """Return the commands that have not run yet. A thread takes them."""
    commands: SimpleQueue[Command] = SimpleQueue()

    def run_all() -> None:
        while True:
            commands.get().run()

    Thread(target=run_all, daemon=True).start()
    return commands
