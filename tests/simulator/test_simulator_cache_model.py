"""Random changes of a source and random refreshes: the cache is what a plain model says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.simulator.cache import Cache, SourceRecords, rows_of

KEYS = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("deliver_again")),
        st.tuples(st.just("refresh"), st.integers(-1, 2)),
    ),
    max_size=30,
)


class Model:
    """What is in the source, and what the cache shows of it: record id -> content, date, whether it is deleted."""

    def __init__(self, *, keeps_deleted):
        self.keeps_deleted = keeps_deleted
        self.source, self.changed, self.cached = {}, set(), {}

    def put(self, key, total):
        self.source[key] = total
        self.changed.add(key)

    def delete(self, key):
        if self.source.pop(key, None) is not None:
            self.changed.add(key)

    def deliver_again(self):
        self.changed |= self.source.keys()

    def refresh(self, stamp):
        for key in self.changed:
            if key in self.source:
                self.cached[key] = (self.source[key], stamp, False)
            elif key in self.cached and self.keeps_deleted:
                self.cached[key] = (self.cached[key][0], stamp, True)
            else:
                self.cached.pop(key, None)
        self.changed = set()


@pytest.mark.parametrize("data_type", ["invoices", "banking-transactions"])
@given(steps=STEPS)
def test_the_cache_is_what_the_model_says(data_type, steps):
    model, source = Model(keeps_deleted=data_type == "invoices"), SourceRecords()
    cache, now = Cache(data_type, "microseconds"), 1_900_000_000
    for step, *arguments in steps:
        if step == "refresh":
            now += arguments[0]  # the date may stand still, and with ``modified_date_at="request"`` go back
            model.refresh(now)
            cache.merge(source, now)
        else:
            getattr(model, step)(*arguments)
        if step == "put":
            source.put(arguments[0], {"total": arguments[1]}, now)
        elif step == "delete" and arguments[0] in source:
            source.delete(*arguments)
        elif step == "deliver_again":
            source.deliver_again()
        rows = rows_of([cache])
        assert {row.key: (row.entry.fields()["total"], row.modified, row.is_deleted) for row in rows} == model.cached
        assert [row.modified for row in rows] == sorted(row.modified for row in rows)
        assert {row.key: row for row in rows} == cache.by_key
        assert {key: record["total"] for key, record in source.records().items()} == model.source


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=3))
def test_the_rows_of_several_connections_are_in_one_order(stamps):
    caches = []
    for number, of_one in enumerate(stamps):
        source, cache = SourceRecords(), Cache("payments", "microseconds")
        for position, stamp in enumerate(sorted(of_one)):
            source.put(f"{number}-{position}", {}, 0)
            cache.merge(source, stamp)
        caches.append(cache)
    merged = rows_of(caches)
    assert [row.modified for row in merged] == sorted(stamp for of_one in stamps for stamp in of_one)
    assert len({row.key for row in merged}) == len(merged)
