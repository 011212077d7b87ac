"""Recogniser: a finished run as an object that predicts, from features or from media files.

It reads the run's model/ folder alone, and holds it against the hashes of DONE: no store, no corpus, no experiment.
Nothing that it reads is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.corpora.clip import Medium
from mien.data.batches import make_batches, plain_order
from mien.data.columns import Column, absent
from mien.data.normalise import EVERYBODY, Normaliser
from mien.data.pictures import PictureChoice
from mien.data.targets import Target
from mien.errors import DamagedError, ExperimentError, MienError
from mien.families import FAMILIES, frameworks
from mien.families.arrays import read_arrays
from mien.families.contract import Predictor
from mien.families.files import hand_over
from mien.families.frameworks.onnx import GRAPH, OnnxModel
from mien.families.recipe import NORMALISER, PARENTS, RECIPE, ModelRecipe
from mien.features.host import ExtractorHost
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import FeatureSpec, Frames
from mien.folder import Folder, damaged, shaped, undamaged
from mien.predict.exported import EXPORT, read_export
from mien.results.done import DONE, MODEL, read_model

BATCH = 64  # clips at a time, as when the run was tested
MOST_FRAMES = 2**17  # of a batch, padded: of clips that are longer than those of any corpus, fewer at a time


def load_run(path: str | os.PathLike[str]) -> Recogniser:
    """The model of a finished run.

    path: a run (<storage>/<experiment>/<signature>/seed-<n>/fold-<k>) or what `mien export` made of one, on a disk or
    in a bucket. An export needs no framework. Raises MienError where there is none or it is not finished, DamagedError
    where its model is not what was written.
    """
    folder = Folder(path)
    if folder.exists(EXPORT):
        return Recogniser(read_export(folder), folder.uri)
    files = read_model(folder)
    if not files:
        raise MienError(
            f"{folder}: no finished run here; give a folder <experiment>/<signature>/seed-<n>/fold-<k> with a {MODEL}/"
        )
    if not folder.exists(DONE):
        raise MienError(f"{folder}: is not finished, it has no {DONE}: the same `mien train` goes on with it")
    return Recogniser(files, folder.path(MODEL))


class Recogniser:
    """A model with all that it needs. As a context it ends the process that extracts features for it.

    recipe: what it was built from. parents: the recognisers whose predictions it reads, by input.
    """

    def __init__(self, files: Mapping[str, bytes], path: str) -> None:
        """files: the model/ of a run, by name from there on; path: where that lies."""
        with undamaged(f"{path}/{RECIPE}"):
            recipe = shaped(json.loads(files.get(RECIPE, b"")), dict[str, Any])
        self.recipe = ModelRecipe.from_json(recipe, f"{path}/{RECIPE}")
        try:
            hand_over({name: data for name, data in files.items() if "/" not in name}, self._restore)
        except DamagedError as error:
            raise damaged(path, str(error)) from error
        self.parents = {}
        for name in self.recipe.parents:
            folder = f"{PARENTS}/{name}/"
            of_parent = {file.removeprefix(folder): data for file, data in files.items() if file.startswith(folder)}
            self.parents[name] = Recogniser(of_parent, f"{path}/{PARENTS}/{name}")

    def _restore(self, folder: Path) -> None:
        self._normaliser = Normaliser.from_arrays(read_arrays(folder / NORMALISER))
        self._model = _predictor(self.recipe, folder)

    @property
    def names(self) -> tuple[str, ...]:
        """What it predicts: classes, or dimensions."""
        return self.recipe.target.names

    @property
    def has_dropout(self) -> bool:
        """Whether it, or one of its parents, can predict with dropout. A graph of ONNX cannot."""
        return self._has_own_dropout or any(parent.has_dropout for parent in self.parents.values())

    @property
    def _has_own_dropout(self) -> bool:
        return FAMILIES[self.recipe.model.family].has_dropout and not isinstance(self._model, OnnxModel)

    @property
    def extractors(self) -> dict[str, Mapping[str, Any] | None]:
        """Feature to its extractor, of its own inputs and of its parents'."""
        own = {name: self.recipe.extractors[name] for name in self.recipe.inputs if name not in self.parents}
        return {name: one for recogniser in self.parents.values() for name, one in recogniser.extractors.items()} | own

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Feature to its spec, of its own inputs and of its parents'."""
        own = {name: spec for name, spec in self.recipe.inputs.items() if name not in self.parents}
        return {name: one for recogniser in self.parents.values() for name, one in recogniser.specs.items()} | own

    def predict(
        self, clips: Sequence[Mapping[str, Frames]], subjects: Sequence[str] = (), *, dropout: int | None = None
    ) -> NDArray[np.float32]:
        """(N, K) of N clips, given by their features: class probabilities, rows sum to 1; or dimensions in [-1, 1].

        clips: feature to frames, as `frames` returns them or as they lie in a store; a feature that is not there is
        missing. subjects: who each clip is of, for a run with data.normalise "speaker": a person whom it was fitted on
        is standardised by that person's own clips, any other like the training clips (see `get_to_know`). dropout: the
        seed of one draw with dropout, of this model and of its parents that have it, see
        `mien.families.contract.Learner`; clips predicted with it vary from draw to draw by what the model does not
        know. Raises ExperimentError where neither has any.
        """
        if not len(clips):
            return np.zeros((0, len(self.names)), np.float32)
        people = list(subjects) or [EVERYBODY] * len(clips)
        given = [dict(clip) for clip in clips]
        for name, parent in self.parents.items():
            drawn = dropout if parent.has_dropout else None
            for clip, values in zip(given, parent.predict(clips, subjects, dropout=drawn)):
                clip[name] = Frames(values[None], np.ones(1, bool))
        inputs = self.recipe.inputs
        for clip in given:
            for name, spec in inputs.items():
                self._check(name, clip.setdefault(name, absent(spec)))
        n_targets = len(self.names)
        nothing = np.zeros((len(given), n_targets), np.float32)
        target = Target(
            self.recipe.target, nothing[:, 0], nothing, np.zeros_like(nothing, bool), np.zeros(len(given), np.int64)
        )
        choice = PictureChoice(n=self.recipe.pictures, step=self.recipe.picture_step)
        longest = max([1, *(len(clip[name].valid) for clip in given for name in inputs)])
        size = max(1, min(BATCH, MOST_FRAMES // longest))
        batches = make_batches(
            plain_order(range(len(given)), size),
            lambda row, copy: choice(
                self._normaliser({name: given[row][name] for name in inputs}, people[row]), inputs
            ),
            target,
            inputs,
            batch_size=size if len(given) > 1 else 1,  # one clip alone is what somebody waits for
            lengths=choice.lengths(inputs),
        )
        drawn = None if self.has_dropout and not self._has_own_dropout else dropout
        return self._model.predict(batches, dropout=drawn).values

    def get_to_know(self, columns: Mapping[str, Column], subjects: Sequence[str], people: frozenset[str]) -> None:
        """From now on these people are standardised by their own clips, as the people of the training were.

        Does nothing where the run was not trained with data.normalise "speaker". columns: feature to that of N clips;
        subjects: (N,) whose each is. Somebody who was met in training, or before, stays as known.
        """
        if self.recipe.normalise == "speaker":
            self._normaliser = self._normaliser.knowing(columns, subjects, people)
        for parent in self.parents.values():
            parent.get_to_know(columns, subjects, people)

    def frames(self, media: Mapping[str, str | os.PathLike[str] | Medium]) -> dict[str, Frames]:
        """The features of one clip, extracted from its media as `mien prepare` did.

        media: name of a medium ("audio", "video", ...) to its file or stretch of one. A feature of a medium that is not
        given is missing. Raises MediaError where a file cannot be used, ExperimentError where it is not known how a
        feature was extracted, or no feature could be.
        """
        unknown = [name for name, one in self.extractors.items() if one is None]
        if unknown:
            raise ExperimentError(
                f"features {', '.join(unknown)}: the store did not say how they were extracted; give the features "
                "themselves to predict()"
            )
        given = {name: one if isinstance(one, Medium) else Medium(path=os.fspath(one)) for name, one in media.items()}
        wanted = sorted({str(one["medium"]) for one in self.extractors.values() if one})
        if not set(given) & set(wanted):
            raise ExperimentError(f"media {', '.join(given) or 'none'}: this run reads {', '.join(wanted)}")
        return self._host.frames(given)

    def __call__(self, **media: str | os.PathLike[str] | Medium) -> dict[str, float]:
        """What one clip shows, by class or dimension: `recogniser(audio="a.wav", video="a.mp4")`."""
        (values,) = self.predict([self.frames(media)])
        return dict(zip(self.names, values.tolist()))

    @cached_property
    def _host(self) -> ExtractorHost:
        return self.host(name for name, one in self.extractors.items() if one)

    def host(self, features: Iterable[str]) -> ExtractorHost:
        """A process with the extractors of these features, which the caller closes. Raises MienError where one cannot
        be built, or gives other features than those that the run was trained on."""
        recipes = {
            name: ExtractorRecipe(one["name"], one["settings"]) for name in features if (one := self.extractors[name])
        }
        host = ExtractorHost(recipes)
        try:
            for name, description in host.descriptions.items():
                description.check(self.specs[name])
        except ExperimentError:
            host.close()
            raise
        return host

    def close(self) -> None:
        """Ends the process that extracts features, where there is one."""
        if "_host" in self.__dict__:
            self._host.close()
            del self.__dict__["_host"]

    def __enter__(self) -> Recogniser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, name: str, frames: Frames) -> None:
        spec = self.recipe.inputs[name]
        if frames.values.shape[1:] != spec.shape:
            raise ExperimentError(
                f"{name}: frames of {frames.values.shape[1:]}, and this run was trained on frames of {spec.shape}: "
                "extract them with the same settings"
            )


def _predictor(recipe: ModelRecipe, folder: Path) -> Predictor:
    """What predicts: a graph of ONNX where there is one, else the family with the weights that were exported."""
    if (folder / GRAPH).exists():
        return OnnxModel(recipe.task(), (folder / GRAPH).read_bytes())
    family = FAMILIES[recipe.model.family]
    learner = family.build(recipe.task(frameworks.group(family.framework, 0, 1)))
    learner.restore(folder)
    return learner
