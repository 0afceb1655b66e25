"""A stand-in for Airflow's asset state store, with the hints that the webhook receiver would leave there."""

import asyncio
import sys
from types import SimpleNamespace

from company_waits import TASK

from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.api.webhook_hints import WebhookHint, add_hint
from airflow_provider_codat.triggers.webhook_mailbox import READ_EVERY

DELIVERY = 0.5
"""Seconds from the end of an operation to its hint, in tests."""

LATE = DELIVERY + READ_EVERY + 0.1
"""The longest delay in seconds of an end that a hint announces. An answer takes no time in tests."""

PACE = Pace(5.0, None, None)

OLD = {"pace": PACE, "age": 1000.0}
"""A wait whose usual pause is 100 seconds."""

NEVER = 10**6
"""Seconds that no test lasts."""

CONTEXT = "airflow.sdk.execution_time.context"


class Mailbox:
    """The mailbox of a connection. ``reads`` has the time of each read, ``error`` is what a read raises, and ``tasks``
    has in whose context it was.

    A read has no answer before the seconds of ``answers_after`` have passed.
    """

    def __init__(self, clock):
        self._clock = clock
        self.content = {}
        self.reads = []
        self.assets = set()
        self.tasks = set()
        self.error = None
        self.answers_after = 0.0

    def install(self, monkeypatch, *, has_accessor=True, has_async_calls=True):
        """Let triggers read this mailbox.

        Without ``has_accessor``, as before Airflow 3.3; without ``has_async_calls``, as on Airflow 3.3.0.
        """
        mailbox = self

        class Accessor:
            def __init__(self, *, name):
                mailbox.assets.add(name)

            def get(self, key, default=None):
                assert asyncio._get_running_loop() is None, "a blocking read on the event loop"
                return mailbox.read(key, default)

        class AsyncAccessor(Accessor):
            async def aget(self, key, default=None):
                content = mailbox.read(key, default)
                await asyncio.sleep(mailbox.answers_after)
                return content

        try:
            context = __import__(CONTEXT, fromlist=["context"])
        except ImportError:  # Airflow 2
            context = SimpleNamespace()
            monkeypatch.setitem(sys.modules, CONTEXT, context)
        if has_accessor:
            accessor = AsyncAccessor if has_async_calls else Accessor
            monkeypatch.setattr(context, "AssetStateStoreAccessor", accessor, raising=False)
        else:
            monkeypatch.delattr(context, "AssetStateStoreAccessor", raising=False)

    def read(self, key, default):
        assert key == "codat_webhooks"
        self.reads.append(self._clock.passed)
        self.tasks.add(TASK.get())
        if self.error is not None:
            raise self.error
        return self.content or default

    def hint(self, company, *, operation=None, data_types=(), times=1):
        """Add a hint as the receiver does, or several of them."""
        for _ in range(times):
            kind = "bills.write.successful" if operation else "read.completed"
            hint = WebhookHint(self._clock.time(), "msg_1", kind, company.id, operation, tuple(data_types))
            self.content = add_hint(self.content, hint)

    def clear(self):
        """Remove all hints."""
        self.content = {}

    def hint_after(self, seconds, company, **what):
        """Add a hint when so many seconds have passed."""
        self._clock.after(seconds, lambda: self.hint(company, **what))
