"""Every thread of a run learns that its request was cancelled."""

import threading

import anyio
import pytest

from selsa_server.service.detection import Cancellation

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_another_thread_sees_what_the_worker_thread_saw() -> None:
    cancellation, entered, answers = Cancellation(), threading.Event(), []

    def other() -> None:
        answers.append(cancellation())

    def in_other_thread() -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    def work() -> None:
        in_other_thread()
        entered.set()
        while not cancellation():
            pass
        in_other_thread()

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, work)
        while not entered.is_set():
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert answers == [False, True]
