"""Each sensor alone, and all of them fused early, late and in the middle, on the same folds: one page compares them.

python experiments/affect_fusion.py --store store --storage runs --seeds 0 1 2
python experiments/affect_fusion.py --data.features eeg-bands physio physio-raw    # without the face

The late fusion builds on the runs of the sensors alone, which are not trained again: it learns how far to trust each
from what they predicted of people that they had not learned from.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

from tyro.conf import arg

import mien
from affect_ensemble import EXPERIMENT as HYBRID
from mien.experiment import AffectEnsembleConfig, Experiment
from mien.results.run import Series

# What is one sensor: its features are fused by the network of that sensor alone.
SENSORS = {"eeg": ("eeg-bands",), "body": ("physio", "physio-raw"), "face": ("facenet",)}


def sensors_of(base: Experiment) -> dict[str, tuple[str, ...]]:
    """The sensors of which the experiment reads a feature, and these."""
    read = {name: tuple(one for one in features if one in base.data.features) for name, features in SENSORS.items()}
    return {name: features for name, features in read.items() if features}


def alone(sensor: str, base: Experiment = HYBRID) -> Experiment:
    """One sensor, with nothing beside it."""
    data = dataclasses.replace(base.data, features=sensors_of(base)[sensor])
    return dataclasses.replace(base, name=f"affect-{sensor}", data=data)


def fused(kind: str, base: Experiment = HYBRID) -> Experiment:
    """All sensors in one model: early, hybrid."""
    return dataclasses.replace(base, name=f"affect-{kind}", model=dataclasses.replace(base.model, fusion=kind))


def late(kind: str, parents: tuple[str, ...], base: Experiment = HYBRID) -> Experiment:
    """The predictions of the sensors alone: weighted, or by a linear meta-classifier."""
    return dataclasses.replace(
        base,
        name=f"affect-late-{kind}",
        data=dataclasses.replace(base.data, features=()),
        model=AffectEnsembleConfig(fusion="late", late=kind),
        training=dataclasses.replace(base.training, keep="last", epochs=20, learning_rate=0.02),
        parents=parents,
    )


def compare_fusions(base: Experiment = HYBRID, launch: Callable[[Experiment], Series] = mien.launch) -> str:
    """Trains what is missing; returns the page that compares all."""
    sensors = [launch(alone(sensor, base)) for sensor in sensors_of(base)]
    parents = tuple(f"{one.experiment.name}/{one.signature}" for one in sensors)
    late_fusions = [launch(late(kind, parents, base)) for kind in ("weighted", "meta")]
    others = [launch(fused(kind, base)) for kind in ("early", "hybrid")]
    series = [*sensors, *late_fusions, *others]
    for one in series:
        mien.report(one)
    return mien.compare(series, f"{base.execution.storage}/affect-fusions")[0]


def main(argv: Sequence[str]) -> int:
    """The exit code of a command line of fields of the experiment."""
    from mien.cli.main import script
    from mien.cli.progress import training_events

    def fusions(experiment: Annotated[Experiment, arg(name="")] = HYBRID) -> None:
        """Each sensor alone, and all of them fused early, late and in the middle, compared."""
        with training_events() as events:
            page = compare_fusions(experiment, lambda one: mien.launch(one, events))
        print(f"report: {page}")

    return script(fusions, argv)


if __name__ == "__main__":
    from mien.cli.main import leave

    leave(main(sys.argv[1:]))
