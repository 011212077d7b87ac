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
from mien.data.columns import absent
from mien.data.normalise import EVERYBODY, Normaliser
from mien.data.pictures import PictureChoice
from mien.data.targets import Target
from mien.errors import DamagedError, ExperimentError, MienError
from mien.families import FAMILIES, frameworks
from mien.families.arrays import read_arrays
from mien.families.contract import Learner
from mien.families.files import hand_over
from mien.families.recipe import NORMALISER, PARENTS, RECIPE, ModelRecipe
from mien.features.host import ExtractorHost
from mien.features.recipe import ExtractorRecipe
from mien.features.spec import FeatureSpec, Frames
from mien.folder import Folder, damaged, shaped, undamaged
from mien.results.done import MODEL, read_model

BATCH = 64  # clips at a time, as when the run was tested


def load_run(path: str | os.PathLike[str]) -> Recogniser:
    """The model of a finished run.

    path: a run (<storage>/<experiment>/<signature>/seed-<n>/fold-<k>), on a disk or in a bucket. Raises MienError where
    there is none or it is not finished, DamagedError where its model is not what was written.
    """
    folder = Folder(path)
    files = read_model(folder)
    if not files:
        raise MienError(
            f"{folder}: no finished run here; give a folder <experiment>/<signature>/seed-<n>/fold-<k> with a {MODEL}/"
        )
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
        family = FAMILIES[self.recipe.model.family]
        self._learner: Learner = family.build(self.recipe.task(frameworks.group(family.framework, 0, 1)))
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
        self._learner.restore(folder)
        self._normaliser = Normaliser.from_arrays(read_arrays(folder / NORMALISER))

    @property
    def names(self) -> tuple[str, ...]:
        """What it predicts: classes, or dimensions."""
        return self.recipe.target.names

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

    def predict(self, clips: Sequence[Mapping[str, Frames]], subjects: Sequence[str] = ()) -> NDArray[np.float32]:
        """(N, K) of N clips, given by their features: class probabilities, rows sum to 1; or dimensions in [-1, 1].

        clips: feature to frames, as `frames` returns them or as they lie in a store; a feature that is not there is
        missing. subjects: who each clip is of, for a run with data.normalise "speaker": a person whom it was fitted on
        is standardised by that person's own clips, any other like the training clips.
        """
        if not len(clips):
            return np.zeros((0, len(self.names)), np.float32)
        people = list(subjects) or [EVERYBODY] * len(clips)
        given = [dict(clip) for clip in clips]
        for name, parent in self.parents.items():
            for clip, values in zip(given, parent.predict(clips, subjects)):
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
        batches = make_batches(
            plain_order(range(len(given)), BATCH),
            lambda row, copy: choice(
                self._normaliser({name: given[row][name] for name in inputs}, people[row]), inputs
            ),
            target,
            inputs,
            batch_size=BATCH if len(given) > 1 else 1,  # one clip alone is what somebody waits for
            lengths=choice.lengths(inputs),
        )
        return self._learner.predict(batches).values

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
        for name, description in host.descriptions.items():
            found, spec = description.spec, self.specs[name]
            if found != spec:
                host.close()
                raise ExperimentError(
                    f"{name}: extracted here as {found.folder}, and this run was trained on {spec.folder}: "
                    "use the mien and the weights that it was trained with"
                )
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
