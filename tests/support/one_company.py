"""A company in the sender's queue that requests itself, in place of a poll."""

import math

from airflow_provider_codat.api.endpoints.companies import get_company
from airflow_provider_codat.triggers.sender import Place


class OneCompany:
    """Sends a number of requests, each for itself, the first at ``due``, and keeps the answers and errors."""

    def __init__(self, company_id, due, count=1):
        self.company_id, self.due, self.left = company_id, due, count
        self.place = Place()
        self.ended = []
        self.slow = 0

    def next_at(self):
        return self.due if self.left else math.inf

    def take(self, _):
        self.left -= 1
        return object()

    def request(self, _):
        return get_company(self.company_id)

    async def answered(self, _, answer):
        self.ended.append(answer)

    async def failed(self, _, error):
        self.ended.append(error)

    def is_slow(self, _):
        self.slow += 1

    def again(self, _):
        self.left += 1

    def break_off(self, error):
        raise AssertionError(error)
