"""Give up a network that does not answer in time, so that the tick goes on.

A hung call cannot be stopped from outside, so a network runs in a thread of its own. When the answer does not
come in time, the thread is left behind and the network is not called again.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from edge.contracts.sensors import FrameSet
from edge.perceive.perceiver import Perceiver, StageWatch, unwatched
from edge.perceive.tensors import NetOutput

_Task = Callable[[], NetOutput]


class HangError(TimeoutError):
    """A network did not answer in time."""


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False)
class _Question:
    """One call of a network, and its result."""

    ask: _Task
    waits: threading.Lock = field(default_factory=_held_lock)
    """Held until the answer is there; a third of what a ``threading.Event`` costs."""
    output: NetOutput | None = None
    error: BaseException | None = None


_Questions = queue.SimpleQueue[_Question | None]


class WatchedPerceiver:
    """Another perceiver whose answer is waited for only so long.

    Every call runs in the same thread, because some engines require it; the thread ends with the perceiver.
    """

    def __init__(self, whole: Perceiver, timeout_s: float) -> None:
        """Wrap a perceiver.

        Args:
            whole: What is asked.
            timeout_s: How long an answer may take, by the wall clock.
        """
        self._whole = whole
        self._timeout_s = timeout_s
        self._questions: _Questions = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_hung = threading.Event()

    def perceive(self, frame_set: FrameSet, watch: StageWatch = unwatched) -> NetOutput:
        """See ``Perceiver.perceive``.

        Raises:
            HangError: No answer came in time, now or before.
        """
        if self._is_hung.is_set():
            raise HangError("the network hung before and is not asked again")
        if self._thread is None:
            self._thread = threading.Thread(
                target=_answer, args=(self._questions,), name="perceive", daemon=True
            )
            self._thread.start()
        stage = _until(self._is_hung, watch)
        question = _Question(functools.partial(self._whole.perceive, frame_set, stage))
        self._questions.put(question)
        if not question.waits.acquire(timeout=self._timeout_s):
            self._is_hung.set()
            raise HangError(f"the network did not answer within {self._timeout_s:g} s")
        if question.error is not None:
            raise question.error
        assert question.output is not None
        return question.output

    def __del__(self) -> None:
        self._questions.put(None)


def _until(is_hung: threading.Event, watch: StageWatch) -> StageWatch:
    """Watch stages until the network is given up: a late answer must not enter a later tick's account."""

    def stage(name: str) -> AbstractContextManager[None]:
        return unwatched(name) if is_hung.is_set() else watch(name)

    return stage


def _answer(questions: _Questions) -> None:
    """Answer questions in the thread of a network, until there is a None."""
    while (question := questions.get()) is not None:
        try:
            question.output = question.ask()
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
            question.error = error
        question.waits.release()
