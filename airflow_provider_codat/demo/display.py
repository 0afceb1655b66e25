"""The demo's output: a live table on a terminal, elsewhere one line for each event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from airflow_provider_codat.demo.airflow_stack import TaskInstance

_STYLES = {"success": "green", "failed": "red", "upstream_failed": "red", "skipped": "dim", "deferred": "magenta"}


class Display:
    """Shows the demo's progress during a ``with`` block."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = 200  # more than any line has, so that no line is broken
        self._began = time.monotonic()
        self._spinner = Spinner("dots")
        self._tasks: list[TaskInstance] = []
        self._live = Live(console=self._console, get_renderable=self._live_view, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def step(self, what: str) -> None:
        """Print a line, with the seconds since the start."""
        self._console.print(Text.assemble((f"{self._elapsed:6.1f} s  ", "dim"), what))

    def tasks(self, tasks: Sequence[TaskInstance]) -> None:
        """Show the current states of the task instances."""
        before = {each.name: each.state for each in self._tasks}
        self._tasks = sorted(tasks, key=lambda each: (each.started or "~", each.name))
        if not self._console.is_terminal:
            for each in self._tasks:
                if each.state and each.state != before.get(each.name):
                    self.step(f"  {each.name}: {_state(each)}")

    def final_tasks(self) -> None:
        """Replace the live table of the task instances by a printed one."""
        tasks, self._tasks = self._tasks, []
        if self._live.is_started:
            self._live.refresh()
        self._console.print(_task_table(tasks))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table. It has no head if no column has a name."""
        table = Table(*columns, title=title, title_justify="left", title_style="bold", show_header=any(columns))
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table)

    def failure(self, text: str) -> None:
        """Show an error."""
        self._console.print(Text(text, "red"))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _live_view(self) -> RenderableType:
        self._spinner.update(text=f"{self._elapsed:.0f} s")
        return Group(*([_task_table(self._tasks)] if self._tasks else []), self._spinner)


def _task_table(tasks: Sequence[TaskInstance]) -> Table:
    table = Table("task", "state", "seconds", title="Tasks", title_justify="left", title_style="bold")
    for each in tasks:
        seconds = "" if each.duration is None else f"{each.duration:.1f}"
        table.add_row(each.name, Text(_state(each), _STYLES.get(each.state or "", "")), seconds)
    return table


def _state(task: TaskInstance) -> str:
    state = task.state or "waiting"
    return f"{state}, in the triggerer" if task.trigger else state
