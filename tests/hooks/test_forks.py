"""A hook that was used before a fork: no process reads the answers of another, and none ends another's connections."""

import asyncio
import gc
import multiprocessing

import pytest

from airflow_provider_codat.exceptions import CodatError

pytestmark = [
    # The simulator has threads; what it does with them is of no account to a child.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

CHILDREN = 4
CALLS = 15
COMPANY = b'{"id": "company"}'
PUSH = b'{"pushOperationKey": "key", "status": "Pending"}'
FORK = multiprocessing.get_context("fork")


def in_child(function):
    """Do something in a fork of this process, and return a function that waits for it and returns its result."""
    receiver, sender = FORK.Pipe(duplex=False)
    child = FORK.Process(target=lambda: sender.send(function()))
    child.start()
    sender.close()

    def result():
        try:
            assert receiver.poll(60), "the child did not answer"
            return receiver.recv()
        finally:
            child.kill()
            child.join()

    return result


def wrong_answers(hook, do, company):
    """Return what came of calls that is not the company's own."""

    def ask():
        try:
            return do(hook.get_company, company.id).id
        except CodatError as error:
            return repr(error)

    return [answer for answer in (ask() for _ in range(CALLS)) if answer != company.id]


def test_no_process_gets_the_answers_of_another(codat_simulator, connect, do):
    hook = connect(max_attempts=1)
    companies = [codat_simulator.add_company() for _ in range(CHILDREN + 1)]
    assert wrong_answers(hook, do, companies[0]) == []
    results = [in_child(lambda company=company: wrong_answers(hook, do, company)) for company in companies[1:]]
    assert [wrong_answers(hook, do, companies[0]), *(result() for result in results)] == [[]] * (CHILDREN + 1)


def test_a_child_of_a_child_has_connections_of_its_own(serve, http, connect):
    server = serve(http(200, COMPANY))
    hook = connect(host=server.url)

    def ask():
        return hook.get_company("c").id

    def ask_below():
        return [ask(), in_child(ask)(), ask()]

    assert [ask(), in_child(ask_below)(), ask()] == ["company", ["company"] * 3, "company"]
    assert [seen.connection for seen in server.seen] == [1, 2, 3, 2, 1]


def test_what_a_child_does_with_its_connections_leaves_the_parents_open(serve, http, connect):
    """A write without a key closes the session to have a fresh connection; an exit destroys what is there."""
    server = serve(http(200, COMPANY), http(200, PUSH), http(200, COMPANY))
    hook = connect(host=server.url)
    hook.get_company("c")

    def write_and_end():
        hook.delete_record("company", "connection", "bills", "record")
        vars(hook).clear()
        gc.collect()

    in_child(write_and_end)()
    hook.get_company("c")
    assert [seen.connection for seen in server.seen] == [1, 2, 1]


@pytest.mark.parametrize("call", ["get_company", "connect", "aclose"])
def test_a_child_leaves_the_asynchronous_client_of_a_loop_that_goes_on_to_the_parent(serve, http, connect, call):
    server = serve(http(200, COMPANY))
    hook = connect(host=server.url)
    with asyncio.Runner() as runner:
        runner.run(hook.get_company.aio("c"))
        before = id(runner.run(hook.connect()))

        def use():
            if call == "get_company":
                return asyncio.run(hook.get_company.aio("c")).id
            if call == "aclose":
                runner.run(hook.aclose())
                return "closed"
            return "the parent's" if id(runner.run(hook.connect())) == before else "its own"

        assert in_child(use)() == {"get_company": "company", "connect": "its own", "aclose": "closed"}[call]
        runner.run(hook.get_company.aio("c"))
        runner.run(hook.aclose())
    assert [seen.connection for seen in server.seen] == ([1, 2, 1] if call == "get_company" else [1, 1])


def test_a_child_can_go_on_with_threads_after_the_parent_used_them(codat_simulator, connect, tmp_path):
    """``sync_to_async`` has one thread, which does not come along: a child would wait for it for ever."""
    company, file = codat_simulator.add_company(), tmp_path / "file.txt"
    file.write_text("content")
    hook = connect()
    where = company.id, company.connection_id, "bills", "record", str(file)

    async def upload():
        await hook.load()
        operation = await hook.upload_attachment.aio(*where)
        await hook.aclose()
        return operation.status

    assert asyncio.run(upload()) == in_child(lambda: asyncio.run(upload()))() == asyncio.run(upload())


def test_a_hook_that_was_never_used_works_on_both_sides_of_a_fork(codat_simulator, connect, do):
    hook, company = connect(), codat_simulator.add_company()
    assert in_child(lambda: do(hook.get_company, company.id).id)() == company.id
    assert do(hook.get_company, company.id).id == company.id
