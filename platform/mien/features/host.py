"""ExtractorHost: extractors in a process of their own.

Some need torch, and the process that asks may have loaded TensorFlow or may have to: the two abort in one process
(`mien.families.frameworks`). So who only wants to know of an extractor, or wants frames of a few clips, asks a
host: `prepare` for the specs, a finished run for the frames of new media, the demo for those of a camera.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from mien import connection, errors
from mien.corpora.clip import Medium
from mien.errors import ExperimentError, MediaError, MienError
from mien.features.recipe import Description, ExtractorRecipe
from mien.features.spec import Frames

_SERVE = "import sys; from mien.features.host import _serve; _serve(int(sys.argv[1]))"


class ExtractorHost:
    """Extractors by feature name, built in another process when it starts. As a context it ends that process.

    descriptions: what each is. Raises ExperimentError where one cannot be built; MienError where weights cannot be had.
    """

    def __init__(self, recipes: Mapping[str, ExtractorRecipe]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that is not read stops its writer
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(there.fileno())],
                pass_fds=[there.fileno()],
                # One thread, as in `prepare`, also of the torch that is imported with the first clip
                env=os.environ | {"PYTHONPATH": connection.search_path(), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # what libraries print is of no use to the caller's stdout
                stderr=self._said,
            )
        self._answers = Connection(here.detach())
        try:
            self.descriptions: dict[str, Description] = self._ask(dict(recipes))
        except BaseException:
            self.close()
            raise

    def frames(self, media: Mapping[str, Medium]) -> dict[str, Frames]:
        """What the extractors make of one clip; a feature of a medium that is not among these is left out.

        Raises MediaError where a medium cannot be used.
        """
        return self._ask(("frames", dict(media)))

    def live(self, method: str, *given: Any) -> Any:
        """What a method of the `mien.features.live.LiveExtractors` over there returns."""
        return self._ask((method, *given))

    def close(self) -> None:
        """Ends the process; what it is at is lost."""
        self._answers.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> ExtractorHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: Any) -> Any:
        try:
            self._answers.send(question)
            answer, error = self._answers.recv()
        except (EOFError, OSError):
            self._process.wait()
            self._said.seek(0)
            last = (self._said.read().decode(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
            raise ExperimentError(
                f"the process that extracts features ended with {self._process.returncode}: {last}"
            ) from None
        if error is None:
            return answer
        name, reason, message = error
        raise MediaError(reason, message) if reason else getattr(errors, name, MienError)(message)


def _serve(handle: int) -> None:
    """The other process: recipes first, then a question at a time, until the asking process is gone."""
    answers = Connection(handle)
    try:
        recipes = answers.recv()
        built = _answered(answers, lambda: _build(recipes))
        if built is None:
            return
        methods = _methods(built)
        while True:
            method, *given = answers.recv()
            _answered(answers, lambda method=method, given=given: (methods(method)(*given), None))
    except (EOFError, OSError):
        return


def _answered(answers: Connection, work: Any) -> Any:
    """Sends the first of what work returns, or its error, and returns the second."""
    try:
        answer, kept = work()
    except MienError as error:
        answers.send((None, (type(error).__name__, getattr(error, "reason", ""), str(error))))
        return None
    answers.send((answer, None))
    return kept


def _build(recipes: Mapping[str, ExtractorRecipe]) -> tuple[dict[str, Description], dict[str, Any]]:
    """The descriptions, and the extractors themselves."""
    built = {name: recipe.build() for name, recipe in recipes.items()}
    return {name: Description.of(recipes[name], extractor) for name, extractor in built.items()}, built


def _methods(built: Mapping[str, Any]) -> Callable[[str], Callable[..., Any]]:
    """What can be asked, by name."""
    from mien.features.live import LiveExtractors

    live = LiveExtractors(built)
    return lambda name: partial(_extract, built) if name == "frames" else getattr(live, name)


def _extract(built: Mapping[str, Any], media: Mapping[str, Medium]) -> dict[str, Frames]:
    from mien.features.media.shared import extract
    from mien.features.store.rows import decoded, encoded

    frames: dict[str, Frames] = {}
    for medium in sorted({extractor.medium for extractor in built.values()} & set(media)):
        names = [name for name, extractor in built.items() if extractor.medium == medium]
        for name, found in zip(names, extract(media[medium], [built[name] for name in names])):
            if isinstance(found, Exception):
                raise found
            spec = built[name].spec
            if not spec.is_numeric:  # as it would come out of the store
                found = decoded(encoded(found, spec), found.valid, spec)
            frames[name] = found
    return frames
