"""Class probabilities that others published for each clip of RAVDESS, as parents of a late fusion.

The table is that of Luna-Jiménez et al.: `clip`, `fold`, and of each of four models a column for each of eight classes.
Two steps; the first one's extractor needs no entry in mien, it is named "module:Settings":

python experiments/published_posteriors.py prepare ROOT posteriors_published.csv store
python experiments/published_posteriors.py --store store                            # a weight for each, a temperature
python experiments/published_posteriors.py --store store --model.late meta          # a linear meta-classifier
python experiments/published_posteriors.py --store store --model.late equal
python experiments/published_posteriors.py --store store --data.features audio_w2v  # one alone, its temperature

Folds are those of the table. A fusion is fitted on what other people's clips were given by models that had trained on
the people whom it is tested on: the leak that docs/explanation/evaluation.md warns of, small, and not to be had without
from a table like this one. Of equal weights nothing is fitted.
"""

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from mien.corpora.csv_table import CsvTable, read_csv
from mien.errors import ExperimentError
from mien.experiment import (
    AffectEnsembleConfig,
    AugmentConfig,
    ClassesConfig,
    DataConfig,
    Experiment,
    LossConfig,
    ProtocolConfig,
    TrainingConfig,
)
from mien.features.spec import FeatureSpec, Frames, Kind

MODELS = ("audio_w2v", "video_mlp_au", "video_bilstm_au", "fusion")  # the last is theirs of the first two
WORDS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")  # in the order of ravdess8
FOLDS = (("02", "05", "14", "15", "16"), ("03", "06", "07", "13", "18"), ("10", "11", "12", "19", "20"))
FOLDS = (*FOLDS, ("08", "17", "21", "23", "24"), ("01", "04", "09", "22"))  # of the table's column `fold`


@dataclass(frozen=True, kw_only=True, slots=True)
class Posteriors:
    """What one of the models gave each clip: a row of eight probabilities."""

    model: str
    """Which of the table's models."""

    def build(self) -> "PosteriorsOf":
        if self.model not in MODELS:
            raise ExperimentError(f"model {self.model}: the table has {', '.join(MODELS)}")
        columns = tuple(f"p_{word}" for word in WORDS)
        shape = (len(WORDS),)
        spec = FeatureSpec(name=self.model, version=1, modality="prediction", shape=shape, hop_s=None, columns=columns)
        return PosteriorsOf(spec=spec)


@dataclass(frozen=True, kw_only=True)
class PosteriorsOf:
    """Extractor that reads a row of the table; its signal is "<table>#<clip>"."""

    spec: FeatureSpec
    medium: ClassVar[str] = "posteriors"
    kind: ClassVar[Kind] = "table"
    rate_hz: ClassVar[float] = 0.0
    is_heavy: ClassVar[bool] = False

    def __call__(self, signal: str, rate_hz: float) -> Frames:
        path, _, clip = signal.partition("#")
        table, rows = _table(path)
        values = [[table.number(rows[clip], f"{self.spec.name}:{word}") for word in WORDS]]
        return Frames(np.array(values, np.float32), np.ones(1, bool))


@lru_cache(maxsize=1)
def _table(path: str) -> tuple[CsvTable, dict]:
    table = read_csv(path)
    return table, {table.text(row, "clip"): row for row in table.rows}


EXPERIMENT = Experiment(
    name="published-posteriors",
    question="What do published models reach together, and how sure of themselves should they be?",
    data=DataConfig(corpora=("ravdess",), features=MODELS[:3]),
    target=ClassesConfig(vocabulary="ravdess8", primary="wa"),
    protocol=ProtocolConfig(
        kind="official", official={f"ravdess/{actor}": fold for fold, actors in enumerate(FOLDS) for actor in actors}
    ),
    augment=AugmentConfig(kind="none"),
    loss=LossConfig(kind="cross-entropy", alpha="none", label_smoothing=0.0),
    model=AffectEnsembleConfig(fusion="late"),
    training=TrainingConfig(keep="last", epochs=10, learning_rate=0.02, weight_decay=0.0, average=0.0),
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        import mien

        root, table, store = sys.argv[2:]
        for model in MODELS:
            asked = ("published_posteriors:Posteriors", {"model": model})
            mien.prepare("ravdess", root, store, [asked], attach={"posteriors": table}, workers=1)
    else:
        from mien.cli.main import run

        run(EXPERIMENT)
