"""The brake: when an account pauses, and what ends the pause.

=============================================  ====================================================================
what happened                                  what the sender does
=============================================  ====================================================================
429                                            pauses for its ``Retry-After``, or for a minute
three requests in a row without an answer      pauses for 5 s: Codat is down, the network is gone, or Codat has
                                               blocked the address, which it may do for a minute
a pause is over                                sends one request, the *probe*; all others wait for its answer
the probe is answered with 429                 pauses for its ``Retry-After``, or for a minute
the probe has no answer                        pauses twice as long as before, at most a minute
the probe has any other answer                 goes on
the probe is cancelled, or slow                sends the next request as the probe
=============================================  ====================================================================

A request that was sent before the end of the pause does not end it. It prolongs the pause only if it is answered with a
429 whose pause ends later. A request without an answer does not count if any request was answered after it was sent:
perhaps only the requests of one company hang. For the same reason, if the probe is slow, the next request becomes the
probe; the answer to the slow one still counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

DEFAULT_PAUSE = 60.0
"""Seconds to pause after a 429 without a ``Retry-After``."""

DOWN_AFTER = 3
"""Requests in a row without an answer after which the account pauses. A single one may concern one company only."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds of the first pause after requests without an answer, and of the longest. Each pause is twice the last one."""

_CHECK_AGAIN = 1.0  # seconds


@dataclass(frozen=True)
class Brake:
    """Whether an account pauses.

    :param paused_until: the end of the pause in monotonic seconds, ``None`` if there is none, which is the default.
    :param is_probing: whether the probe was sent and not answered yet; default ``False``.
    :param unanswered: requests in a row without an answer; default 0.
    :param answered_at: the time of the last answer in monotonic seconds; default none.
    :param pause: the seconds of the last pause after requests without an answer; default 0.
    """

    paused_until: float | None = None
    is_probing: bool = False
    unanswered: int = 0
    answered_at: float = -math.inf
    pause: float = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent, 0 for at once; while the probe is under way, a second."""
        if self.is_probing:
            return _CHECK_AGAIN
        return 0.0 if self.paused_until is None else max(self.paused_until - now, 0.0)

    def sent(self) -> Self:
        """Return the brake after a request was sent. After a pause it is the probe."""
        is_probe = self.paused_until is not None
        return self if self.is_probing == is_probe else replace(self, is_probing=is_probe)

    def answered(self, now: float, sent_at: float = -math.inf, *, is_probe: bool) -> Self:
        """Return the brake after any answer but a 429.

        :param sent_at: when the request was sent, in monotonic seconds; default before any pause.
        """
        if self.paused_until is not None and not is_probe and sent_at < self.paused_until:
            return self
        if self.paused_until is not None and self.paused_until > now:
            return replace(self, is_probing=False)
        return type(self)(answered_at=now)

    def refused(self, retry_after: float | None, now: float, *, is_probe: bool) -> Self:
        """Return the brake after a 429. It never shortens a pause."""
        until = now + (DEFAULT_PAUSE if retry_after is None else retry_after)
        return replace(
            self,
            paused_until=max(until, self.paused_until or until),
            is_probing=self.is_probing and not is_probe,
            unanswered=0,
        )

    def failed(self, now: float, sent_at: float, *, is_probe: bool) -> Self:
        """Return the brake after a request without an answer, which was sent at ``sent_at``, in monotonic seconds."""
        if sent_at <= self.answered_at and not is_probe:
            return self
        counted = replace(self, unanswered=self.unanswered + 1, is_probing=self.is_probing and not is_probe)
        if self.paused_until is None:
            is_due = counted.unanswered >= DOWN_AFTER
        else:
            is_due = is_probe or sent_at >= self.paused_until
        if not is_due:
            return counted
        pause = min(max(2 * self.pause, FIRST_PAUSE), LONGEST_PAUSE)
        return replace(counted, pause=pause, paused_until=max(now + pause, self.paused_until or 0.0))

    def abandoned(self) -> Self:
        """Return the brake after the probe was cancelled or has become slow: the next request is the probe."""
        return replace(self, is_probing=False)
