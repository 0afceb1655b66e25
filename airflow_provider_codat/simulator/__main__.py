"""``python -m airflow_provider_codat.simulator``: serves a simulated Codat until Ctrl-C."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from typing import TYPE_CHECKING

from airflow_provider_codat.simulator import CodatSimulator, Outcome

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.rate_limit import Quota


def main() -> None:
    """Run a simulator in the foreground until Ctrl-C or SIGTERM."""
    options = vars(_parser().parse_args())
    failure_rate = options.pop("failure_rate")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    codat = CodatSimulator(**options)
    _let_fail(codat, failure_rate, options["latency"])
    try:
        codat.start()
    except OSError as error:
        sys.exit(f"port {codat.port}: {error.strerror}")
    _introduce(codat)
    ended.wait()
    codat.stop()


def _let_fail(codat: CodatSimulator, rate: float, latency: float) -> None:
    text = "The accounting software refused the record."
    item = {"itemId": "record", "message": "Not accepted by the simulated platform.", "validatorName": "Platform"}
    failure = Outcome("Failed", latency=latency, error_message=text, errors=[item])
    codat.outcomes([Outcome(latency=latency), failure], weights=[1 - rate, rate])


def _introduce(codat: CodatSimulator) -> None:
    lines = [f"Codat simulator: {codat.url}", f"API key: {codat.api_key}"]
    lines += [f"{company.name}: {company.id}, connection {company.connection_id}" for company in codat.companies]
    lines += [f"export AIRFLOW_CONN_CODAT_DEFAULT={shlex.quote(codat.connection_uri)}", "Ctrl-C ends it."]
    print("\n".join(lines), flush=True)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return rate


def _quota(text: str) -> Quota:
    return "codat" if text == "codat" else int(text)


def _requests(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _parser() -> argparse.ArgumentParser:
    """Return a parser whose results are arguments of the simulator, but for ``failure_rate``."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_codat.simulator",
        description="Serve a simulated Codat on the loopback interface.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8080, help="TCP port, 0 for a free one")
    parser.add_argument("--api-key", help="the key to accept, a random one if not given")
    parser.add_argument("--company-count", type=int, default=3, help="companies to begin with")
    parser.add_argument("--latency", type=float, default=5.0, metavar="SECONDS", help="until a push ends")
    parser.add_argument("--failure-rate", type=_rate, default=0.0, help="share of pushes that fail, 0 to 1")
    parser.add_argument(
        "--shape", dest="sync_schedule_shape", choices=("integer", "object"), default="integer", help="of syncSchedule"
    )
    parser.add_argument("--free-plan", action="store_true", help="refuse hourly syncs with 402")
    parser.add_argument("--quota", type=_quota, metavar="N", help="requests a day, then 429; codat: what Codat grants")
    parser.add_argument("--requests-per-minute", type=_requests, metavar="N", help="then 429; Codat's limit is 1000")
    parser.add_argument("--blocks-addresses", action="store_true", help="drop connections for a minute instead of 429")
    parser.add_argument("--concurrency-per-company", type=_requests, metavar="N", help="then 429; Codat's limit is 10")
    parser.add_argument("--response-time", type=float, default=0.0, metavar="SECONDS", help="until an answer")
    parser.add_argument("--query-support", choices=("honour", "ignore", "refuse"), default="honour", help="of lists")
    parser.add_argument("--order-by-support", choices=("honour", "ignore"), default="honour", help="of lists")
    parser.add_argument("--hidden-gets", type=int, default=0, metavar="N", help="reads of a fresh push that answer 404")
    parser.add_argument("--hidden-lists", type=int, default=0, metavar="N", help="lists that lack a fresh push")
    parser.add_argument("--list-lag", type=float, default=0.0, metavar="S", help="seconds by which lists are behind")
    parser.add_argument("--record-count", type=int, default=100, metavar="N", help="records of each data type")
    parser.add_argument("--refresh-latency", type=float, default=5.0, metavar="SECONDS", help="until a refresh ends")
    return parser


if __name__ == "__main__":
    main()
