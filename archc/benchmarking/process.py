"""A worker seen from outside: it is started, asked, stopped while others run, and ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from archc.benchmarking.job import Job
from archc.benchmarking.pinning import POOLS

PATIENCE = 900.0
"""Seconds until a worker that does not answer is given up."""


class WorkerError(RuntimeError):
    """A worker failed; the message says why."""


class MissingLibraryError(WorkerError):
    """A library that the worker needs is not installed; the message says what to install."""


class ImpossibleJobError(WorkerError):
    """The engine does not do what the job asks for, and is not meant to; the message says what it does."""


class Process:
    """A worker process. Between two questions it is stopped, so that its waiting threads burn no processor time."""

    def __init__(self, job: Job) -> None:
        """Start a worker, and wait until it is ready.

        Raises:
            WorkerError: it failed; it has ended then.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archc.benchmarking.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(job),
        )
        self._unread = b""
        try:
            self._ask(job.to_json())
            self._signal("SIGSTOP")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """A command's answer; see `archc.benchmarking.worker`.

        Raises:
            WorkerError: the worker failed, or ended.
        """
        self._signal("SIGCONT")
        answer = self._ask(json.dumps({"do": do, **arguments}))
        self._signal("SIGSTOP")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._end()) from None
        answer: dict[str, Any] = json.loads(self._line())
        if "missing" in answer:
            raise MissingLibraryError(answer["missing"])
        if "impossible" in answer:
            raise ImpossibleJobError(answer["impossible"])
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            if not select.select([stream], [], [], PATIENCE)[0]:
                raise WorkerError(f"it did not answer within {PATIENCE:g} seconds")
            piece = os.read(stream, 1 << 16)
            if not piece:
                raise WorkerError(self._end())
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _end(self) -> str:
        """How the process ended, with the last that it said."""
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name} ended it" if code < 0 else f"it ended with exit code {code}"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {said[-1].strip()}" if said else how

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self._process.poll() is None:
            self._process.send_signal(getattr(signal, name))


def _environment(job: Job) -> Mapping[str, str]:
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **dict.fromkeys(POOLS, str(job.threads))}
