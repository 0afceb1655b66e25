"""The cases in which a write goes wrong, and what follows: the specification of ``CodatPushOperator``.

A case is a row in a file of ``operators/push_faults``. It says what happens, in words and in steps; for each try, the
requests that reach Codat and how the try ends; and what the company's books hold in the end. Where it matters,
``store`` is an Airflow with a task state store (3.3 and later), ``without`` one without.

The task writes ``coffee``, and ``tea`` once its record is corrected. ``water`` is the record that it changes, ``juice``
that of somebody else. HTTP, processes and SIGKILL are real, the time is not. Five minutes pass between two tries, and
one before a clear.

==================================  ================================================================================
a request                           what became of it
==================================  ================================================================================
``POST``                            handled, and answered with a push operation (``PUT`` and ``DELETE`` likewise)
``POST again``                      not handled: answered as the first request under its key was
``POST 503``, ``POST 503 again``    not handled: answered with that status; or as the first under its key was
``POST reset``                      not handled: its connection is lost
``POST page``                       not handled: answered by a proxy, with a page of HTML
``POST lost``, ``POST lost again``  handled: its connection is lost in place of the answer; or of that of the first
``POST cut``                        handled: its connection is lost amid the answer
``POST held``                       handled: its answer is kept back
``POST stuck``                      under way at Codat until the case is over
``GET``                             a check of one push operation; several in a row count as one
``LIST``                            a read of the company's push history
``nothing``                         no request arrives
==================================  ================================================================================

================================  ==================================================================================
how a try ends                    what Airflow makes of it
================================  ==================================================================================
``success``                       the task succeeds, with the XCom of the operation that wrote the record
``..., retry``                    this was raised, or the process killed, and another try follows
``..., failed``                   this was raised, and no other try follows
``deferred``                      the worker is done; the next line is what the trigger sees
``unknown, found ...``            ``CodatWriteOutcomeUnknown``, so no other try follows; it lists push operations of
                                  these statuses; ``a gap``: the history could not be read
================================  ==================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fault_stage import Step

try:
    from airflow.sdk.execution_time.context import NEVER_EXPIRE
except ImportError:  # it came with the task state store
    NEVER_EXPIRE = None


@dataclass(frozen=True)
class Seen:
    """What is seen of a case.

    :param tries: a line for each try.
    :param books: the memos of the records in the books.
    :param says: what the last error says, among other things.
    """

    tries: tuple[str, ...]
    books: str
    says: str


@dataclass(frozen=True)
class Case:
    """A row.

    :param what: what happens, in words.
    :param steps: the same in steps.
    :param store: what is seen where Airflow has a task state store; ``None`` if it cannot happen there.
    :param without: what is seen where Airflow has none.
    """

    what: str
    steps: tuple[Step, ...]
    store: Seen | None
    without: Seen | None


def case(
    what: str, steps: list[Step], *, both: Seen | None = None, store: Seen | None = None, without: Seen | None = None
) -> Case:
    return Case(what, tuple(steps), store or both, without or both)


def seen(*tries: str, books: str = "coffee", says: str = "") -> Seen:
    return Seen(tries, books, says)


REFUSALS = {402: "CodatPlanLimitError", 403: "CodatForbiddenError", 404: "CodatNotFoundError"}


WORLDS = {"store": True, "without": False} if NEVER_EXPIRE else {"without": False}
"""The kinds of Airflow that this one can be -> whether they have a task state store."""


def in_each_world(cases: list[Case]) -> pytest.MarkDecorator:
    """Run a test with the cells of each row: what is done, whether there is a store, and what is seen."""
    cells = [
        pytest.param(each.steps, with_store, getattr(each, world), id=f"{each.what} ({world})")
        for each in cases
        for world, with_store in WORLDS.items()
        if getattr(each, world) is not None
    ]
    return pytest.mark.parametrize(("steps", "with_store", "expected"), cells)
