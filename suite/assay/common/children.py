"""Child processes that only their parent controls: it answers Ctrl-C, it can kill them, and they end with it."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from assay.common.errors import UserError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# A spawned child, never a forked one: CUDA and threads do not survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")
_STOPS = (signal.SIGINT, signal.SIGTERM)  # both reach the whole group; the parent decides


class ChildLostError(Exception):
    """A child died; its text says how, and ``item`` is what it worked on."""

    item: Any = None


class Child:
    """One process that runs ``serve(connection, *arguments)``, with our end of its connection."""

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_obey, args=(serve, theirs, *arguments))
        with stops_held_back():
            self._process.start()
        theirs.close()

    def receive(self) -> Any:
        """The child's next message.

        Raises:
            ChildLostError: it died.
        """
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(5)
            raise ChildLostError(_cause(self._process.exitcode)) from None

    def stop(self) -> None:
        """End the child; called from another thread than the one that listens to it."""
        self._process.kill()

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()
        self._process.join()
        self.connection.close()


@contextmanager
def stops_held_back() -> Iterator[None]:
    """Block Ctrl-C while a child starts, and in the child: it would die of one before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows cannot hold them back
        yield
        return
    resource_tracker.ensure_running()  # starting, it would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"its worker process ended by itself (exit code {exit_code})"
    name = signal.Signals(-exit_code).name  # Windows knows no SIGKILL to compare with
    return f"its worker process was killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"


def _obey(serve: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    """The child: serve until the parent is gone."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        serve(connection, *arguments)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def answer(call: Callable[[], Any]) -> tuple[str, Any]:
    """The result of ``call`` or its failure, as a message to the parent, which reads it with :func:`taken`."""
    try:
        return "result", call()
    except UserError as error:
        return "user_error", str(error)
    except Exception:
        # A defect of ours. The parent raises it again, with where it came from: an exception itself may not survive
        # the way through the pipe.
        return "failure", traceback.format_exc()


def taken(kind: str, content: Any) -> Any:
    """What :func:`answer` sent.

    Raises:
        UserError: the call raised it.
        RuntimeError: the call raised something else; its text is the traceback.
    """
    if kind == "result":
        return content
    raise UserError(content) if kind == "user_error" else RuntimeError(content)


def made_by_children(
    make: Callable[[_Item], _Result], items: Iterable[_Item], count: int
) -> Generator[tuple[_Item, _Result], None, None]:
    """Each item with the result of ``make`` for it, in the order of completion.

    Closing the iterator kills the ``count`` children.

    Raises:
        ChildLostError: the child that was at work on ``item`` died.
        UserError: ``make`` raised it.
        RuntimeError: ``make`` raised something else.
    """
    waiting, children = iter(items), list[Child]()
    busy: dict[Any, tuple[Child, _Item]] = {}  # by the connection

    def give(child: Child, item: _Item) -> None:
        busy[child.connection] = child, item
        with suppress(OSError):  # it died; what it says next tells
            child.connection.send(item)

    try:
        with stops_held_back():
            children += (Child(_make_what_comes, make) for _ in range(count))
        for child, item in zip(children, waiting, strict=False):
            give(child, item)
        while busy:
            child, item = busy.pop(wait(list(busy))[0])
            try:
                result = taken(*child.receive())
            except ChildLostError as error:
                error.item = item
                raise
            for following in islice(waiting, 1):
                give(child, following)
            yield item, result
    finally:
        for child in children:
            child.kill()


def _make_what_comes(connection: Connection, make: Callable[[Any], Any]) -> None:
    while True:
        connection.send(answer(partial(make, connection.recv())))
