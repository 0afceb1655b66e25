"""A server that receives webhooks: it keeps what comes, and answers as a test says."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What has come, and the answers to come.

    :param answers: the statuses of the next answers, in order; afterwards 200. None keeps the sender waiting until
        :meth:`let_go`.
    """

    url: str
    answers: list[int | None] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    released: threading.Event = field(default_factory=threading.Event)

    def take(self, received: Received) -> int | None:
        with self.changed:
            self.received.append(received)
            self.changed.notify_all()
            return self.answers.pop(0) if self.answers else 200

    def wait_for(self, count: int) -> list[Received]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count, 60), "no webhook came"
            return list(self.received)

    def let_go(self) -> None:
        self.released.set()


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = here.take(Received(self.path, headers, body))
            if status is None:
                here.released.wait(60)
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if 300 <= status < 400:
                self.send_header("Location", f"{here.url}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # with the default, 5, a burst of messages waits a second

    with Server(("127.0.0.1", 0), Handler) as server:
        here = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield here
        finally:
            here.let_go()
            server.shutdown()
            thread.join()
