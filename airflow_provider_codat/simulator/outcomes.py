"""How pushes and refreshes end, and which rule decides it for the next one."""

from __future__ import annotations

import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

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


REFRESH_TERMINAL_STATUSES = frozenset(
    {
        *("Complete", "NotSupported", "Cancelled", "PrerequisiteNotMet", "FetchError", "MapError", "ValidationError"),
        *("ProcessingError", "InternalError", "AuthError", "PermissionsError", "RateLimitError"),
    }
)
#: The statuses of a refresh before its end, in the order of https://docs.codat.io/core-concepts/status.
COURSE = ("Queued", "Fetching", "Mapping", "Validating", "Processing")
#: Status at the end -> status before it. That the others end while the data is fetched is a choice.
_LAST_OF_COURSE = {
    "Complete": "Processing",
    "MapError": "Mapping",
    "ValidationError": "Validating",
    "ProcessingError": "Processing",
}


class Moment(NamedTuple):
    """What a refresh shows before its end.

    ``pause_ends`` is when its pause ends, in seconds after the request; None if it does not pause.
    """

    status: str
    progress: int
    pause_ends: float | None = None


@dataclass(frozen=True)
class RefreshOutcome:
    """How a refresh ends, when, and what it shows until then.

    :param status: a terminal status of Codat, ``Complete`` by default. Any other word needs ``is_completed`` or
        ``is_errored``.
    :param latency: seconds from the request to the end, default 0; with ``math.inf`` the refresh stays in the first
        status of its course.
    :param polls: instead of ``latency``: how many reads show the refresh before its end, each with the next status of
        its course; the next read ends it; default none. The data status is such a read, too.
    :param course: the statuses before the end, each for the same part of ``latency``; by default ``Queued``,
        ``Fetching``, ``Mapping``, ``Validating`` and ``Processing``, up to the one in which it ends.
    :param paused_for: how many seconds of ``latency`` the refresh is paused when ``Fetching`` begins; its
        ``statusDescription`` is then ``Paused until`` the end of the pause; default 0.
    :param status_description: the ``statusDescription`` before the end, while it is not paused; default none.
    :param error_message: Codat's text for an error; default none.
    :param errors: validation errors, each ``{itemId, message, validatorName, ruleId}`` or the message alone; default
        none.
    :param warnings: validation warnings, in the same shape; default none.
    :param is_completed: what ``isCompleted`` is at the end; by default, whether the status is ``Complete``.
    :param is_errored: what ``isErrored`` is at the end; by default, whether the status ends in ``Error``.
    :raises ValueError: for a status that does not end a refresh, an empty course, and a pause that does not fit.
    """

    status: str = "Complete"
    latency: float = 0.0
    polls: int | None = None
    course: Sequence[str] | None = None
    paused_for: float = 0.0
    status_description: str | None = None
    error_message: str | None = None
    errors: Sequence[ValidationItem] = ()
    warnings: Sequence[ValidationItem] = ()
    is_completed: bool | None = None
    is_errored: bool | None = None

    def __post_init__(self) -> None:
        if self.status not in REFRESH_TERMINAL_STATUSES and self.is_completed is None and self.is_errored is None:
            raise ValueError(
                f"a refresh ends as one of {sorted(REFRESH_TERMINAL_STATUSES)}, not as {self.status!r}; for another"
                " word, set is_completed or is_errored"
            )
        if not self.statuses:
            raise ValueError("the course of a refresh has at least one status")
        if self.paused_for and not (self.paused_for <= self.latency < math.inf and "Fetching" in self.statuses):
            raise ValueError(f"a pause of {self.paused_for} s needs that latency, and Fetching in the course")

    @property
    def statuses(self) -> Sequence[str]:
        """The statuses before the end."""
        if self.course is not None:
            return self.course
        return COURSE[: COURSE.index(_LAST_OF_COURSE.get(self.status, "Fetching")) + 1]

    @property
    def completed(self) -> bool:
        """What ``isCompleted`` is at the end. That ``NotSupported`` is not completed is a choice."""
        return self.status == "Complete" if self.is_completed is None else self.is_completed

    @property
    def errored(self) -> bool:
        """What ``isErrored`` is at the end. That ``Cancelled`` and ``PrerequisiteNotMet`` are not is a choice."""
        return self.status.endswith("Error") if self.is_errored is None else self.is_errored

    def moment(self, elapsed: float, reads: int) -> Moment:
        """Return what the refresh shows before its end.

        :param elapsed: seconds since the request.
        :param reads: how many reads have shown it.
        """
        if self.polls is not None:
            return self._moment(reads - 1)
        share = (self.latency - self.paused_for) / len(self.statuses)
        first = 0
        if self.paused_for:
            fetching = self.statuses.index("Fetching")
            paused_at = share * fetching
            if paused_at <= elapsed < paused_at + self.paused_for:
                return self._moment(fetching)._replace(pause_ends=paused_at + self.paused_for)
            if elapsed > paused_at:
                # A rounding error in the subtraction may not lead back to a status before the pause.
                elapsed, first = elapsed - self.paused_for, fetching
        return self._moment(max(first, int(elapsed / share) if share else 0))

    def _moment(self, position: int) -> Moment:
        # Codat does not say what progress counts; here it is the part of the course that has passed, in per cent.
        position = min(max(position, 0), len(self.statuses) - 1)
        return Moment(self.statuses[position], 100 * position // len(self.statuses))


def validation_item(item: ValidationItem) -> dict[str, str | None]:
    """Return a validation item as a push operation has it."""
    blank: dict[str, str | None] = {"itemId": None, "message": None, "validatorName": None}
    return blank | ({"message": item} if isinstance(item, str) else dict(item))


T = TypeVar("T")


class OutcomeRules(Generic[T]):
    """Decides how later operations end. The first source in this list that has an outcome counts.

    1. ``queue``, one outcome for each operation;
    2. the rule with the narrowest scope. A scope has a part for each of company, connection (for refreshes) and data
       type; None is any. A rule for a company is narrower than one for a data type;
    3. the distribution of :meth:`distribute`.
    """

    def __init__(self) -> None:
        self.queue: deque[T] = deque()
        self._rules: dict[tuple[str | None, ...], T] = {}
        self._draw: Callable[[], T | None] = lambda: None

    def distribute(self, outcomes: Sequence[T], weights: Sequence[float], seed: int) -> None:
        """Set the outcomes that operations without another rule draw at random; a ``seed`` draws the same ones again.

        :raises ValueError: if there are not as many weights as outcomes.
        """
        if len(outcomes) != len(weights):
            raise ValueError(f"{len(outcomes)} outcomes need as many weights, not {len(weights)}")
        dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        self._draw = lambda: dice.choices(outcomes, weights)[0]

    def set(self, outcome: T, *scope: str | None) -> None:
        """Set the outcome of later operations in a scope."""
        self._rules[scope] = outcome

    def next(self, *scope: str) -> T | None:
        """Return the outcome of the next operation, or None if no setting decides it.

        :param scope: its company, its connection (for refreshes) and its data type.
        """
        if self.queue:
            return self.queue.popleft()
        for wider in itertools.product(*((part, None) for part in scope)):
            if wider in self._rules:
                return self._rules[wider]
        return self._draw()
