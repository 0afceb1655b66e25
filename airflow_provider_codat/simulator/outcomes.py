"""How pushes end, and which rule decides it for the next one."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

TERMINAL_STATUSES = frozenset({"Success", "Failed", "TimedOut"})

#: A validation item: ``{itemId, message, validatorName}``, or the message alone.
ValidationItem = Mapping[str, str | None] | str


@dataclass(frozen=True)
class Outcome:
    """How and when a push ends.

    :param status: ``Success``, the default, ``Failed`` or ``TimedOut``.
    :param latency: seconds from the request to the end, default 0; with ``math.inf`` the push never ends.
    :param polls: instead of ``latency``: how many reads return the push as pending; the next read ends it;
        default none.
    :param error_message: Codat's text for a failure; default none.
    :param errors: validation errors, each ``{itemId, message, validatorName}`` or the message alone; default none.
    :param warnings: validation warnings, in the same shape; default none.
    :param record_id: the id of a created record; default a fresh UUID.
    :param lands: whether the books are changed; by default, if the status is ``Success``. Codat may change them after
        ``TimedOut``, too.
    :param processing: whether reads before the end return the status ``Processing``, which some clients name and
        Codat's description does not; the write itself is answered with ``Pending``; default ``False``.
    :raises ValueError: for a status that does not end a push.
    """

    status: str = "Success"
    latency: float = 0.0
    polls: int | None = None
    error_message: str | None = None
    errors: Sequence[ValidationItem] = ()
    warnings: Sequence[ValidationItem] = ()
    record_id: str | None = None
    lands: bool | None = None
    processing: bool = False

    def __post_init__(self) -> None:
        if self.status not in TERMINAL_STATUSES:
            raise ValueError(f"a push ends as one of {sorted(TERMINAL_STATUSES)}, not as {self.status!r}")

    @property
    def reaches_books(self) -> bool:
        """Whether the books are changed."""
        return self.status == "Success" if self.lands is None else self.lands


#: The outcome of a push that is pending until a test sets another outcome.
UNDECIDED = Outcome(latency=math.inf)


class OutcomeRules:
    """Decides how later pushes end. The first source in this list that has an outcome counts.

    1. ``queue``, one outcome for each push;
    2. a rule for the company and the data type, 3. for the company, 4. for the data type, 5. for all;
    6. the distribution of :meth:`distribute`.
    """

    def __init__(self) -> None:
        self.queue: deque[Outcome] = deque()
        self._rules: dict[tuple[str | None, str | None], Outcome] = {}
        self._draw: Callable[[], Outcome | None] = lambda: None

    def distribute(self, outcomes: Sequence[Outcome], weights: Sequence[float], seed: int) -> None:
        """Set the outcomes that pushes without another rule draw at random; the same ``seed`` draws the same outcomes.

        :raises ValueError: if there are not as many weights as outcomes.
        """
        if len(outcomes) != len(weights):
            raise ValueError(f"{len(outcomes)} outcomes need as many weights, not {len(weights)}")
        dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._draw = lambda: dice.choices(outcomes, weights)[0]

    def set(self, outcome: Outcome, company_id: str | None, data_type: str | None) -> None:
        """Set the outcome of later pushes: of a company, of a data type, of both together, or of all."""
        self._rules[company_id, data_type] = outcome

    def next(self, company_id: str, data_type: str) -> Outcome | None:
        """Return the outcome of the next push, or None if no setting decides it."""
        if self.queue:
            return self.queue.popleft()
        for scope in ((company_id, data_type), (company_id, None), (None, data_type), (None, None)):
            if scope in self._rules:
                return self._rules[scope]
        return self._draw()
