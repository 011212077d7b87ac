"""The promise of sample order, from the store to what each worker is fed: (seed, epoch, clip ids) decide, and neither
the files that a feature lies in, in memory or mapped, nor the workers who share a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.corpora.clip import Clip, Label, Medium
from mien.data.batches import Batch
from mien.data.dataset import read_dataset
from mien.data.feed import Feed
from mien.experiment import AugmentConfig, DataConfig, Experiment, TrainingConfig
from mien.features.spec import FeatureSpec
from mien.features.store import FeatureStore, Row

N_CLIPS = 149
EMOTIONS = (("angry", "anger"), ("fearful", "fear"), ("neutral", "neutral"))
VOICE = FeatureSpec(name="voice", version=1, modality="audio", shape=(7,), hop_s=0.1, columns=tuple("abcdefg"))
FACE = FeatureSpec(name="face", version=1, modality="video", shape=(5,), hop_s=0.2, columns=tuple("abcde"))
EXPERIMENT = Experiment(
    name="order",
    data=DataConfig(corpora=("ravdess",), features=("voice", "face")),
    augment=AugmentConfig(kind="sync"),
    training=TrainingConfig(batch_size=7),  # the last batch is short, and two workers share an odd one
)


class Sample(NamedTuple):
    """What a model sees of a clip: the valid frames of each feature, end to end, and the class."""

    clip_id: str
    values: bytes
    target: bytes


Epoch = list[list[Sample]]


def clip(number: int) -> Clip:
    own, emotion = EMOTIONS[number % 3]
    return Clip(
        id=f"ravdess/{number:03}",
        corpus="ravdess",
        subject=f"ravdess/{number % 11:02}",
        media={"audio": Medium(path=f"{number}.wav")},
        labels=(Label(source="intended", own=own, emotion=emotion),),
        attributes={"channel": "speech"},
    )


def row(number: int, spec: FeatureSpec) -> Row:
    """Few different lengths, so that clips of one length must be told apart by something else."""
    n_frames = 1 + number % 5
    values = np.random.default_rng((number, spec.dim)).normal(size=(n_frames, spec.dim)).astype(np.float32)
    return Row(clip(number).id, f"{number:064x}", 0.0, None, values, np.ones(n_frames, bool))


def write_store(folder: Path, numbers: Sequence[int], n_parts: int) -> FeatureStore:
    """The clips of these numbers, in this order, dealt to so many parts of each feature."""
    store = FeatureStore(folder)
    store.write_clips("ravdess", [clip(number) for number in numbers], [])
    for spec, order in ((VOICE, numbers), (FACE, numbers[::-1])):
        parts = store.feature_folder("ravdess", spec)
        for part in range(n_parts):
            rows = [row(number, spec) for number in order[part::n_parts]]
            parts.write([row.clip_id for row in rows], rows, [])
        assert sum(name.startswith("part-") for name in parts.folder.names()) == n_parts
        parts.finish({clip(number).id for number in numbers})
    return store


def epoch_of(
    store: FeatureStore,
    world: int = 1,
    *,
    seed: int = 3,
    epoch: int = 1,
    experiment: Experiment = EXPERIMENT,
    mapped: bool = False,
) -> Epoch:
    """The global batches of an epoch, put together again from the shards of all workers."""
    dataset = read_dataset(store, experiment.data, experiment.target, mapped=mapped)
    train = dataset.splits(experiment.protocol)[0].train
    feeds = [Feed(experiment, dataset, train, seed, rank=rank, world=world) for rank in range(world)]
    shards = zip(*(feed.training(epoch) for feed in feeds), strict=True)
    return [together([samples_of(batch, dataset.clip_ids) for batch in shard]) for shard in shards]


def samples_of(batch: Batch, clip_ids: Sequence[str]) -> list[Sample]:
    def valid(index: int) -> bytes:
        return b"".join(batch.values[name][index][batch.masks[name][index]].tobytes() for name in sorted(batch.values))

    return [
        Sample(clip_ids[number], valid(index), batch.targets[index].tobytes())
        for index, number in enumerate(batch.rows)
        if number >= 0
    ]


def together(shards: Sequence[Sequence[Sample]]) -> list[Sample]:
    """The global batch: each worker has taken its turn."""
    return [sample for turn in zip_longest(*shards) for sample in turn if sample is not None]


def shuffled() -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(N_CLIPS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """All clips in the order of their ids, one part a feature."""
    return write_store(tmp_path_factory.mktemp("plain"), range(N_CLIPS), 1)


@pytest.mark.slow
@pytest.mark.parametrize("n_parts", [1, 2, 4])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("mapped", [False, True], ids=["in memory", "mapped"])
def test_neither_parts_nor_workers_nor_memory_change_what_is_learnt_when(
    tmp_path, plain, n_parts, world, mapped, monkeypatch
):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    store = write_store(tmp_path, shuffled().tolist(), n_parts)
    for epoch in (1, 2):
        expected = epoch_of(plain, epoch=epoch)
        assert len({sample.clip_id for batch in expected for sample in batch}) > 90
        assert epoch_of(store, world, epoch=epoch, mapped=mapped) == expected


@pytest.mark.slow
def test_a_seed_and_an_epoch_have_an_order_and_company_of_their_own(plain):
    """Not only do the batches come in another order: other clips meet in them, also where no copies mix them."""
    plainly = replace(EXPERIMENT, augment=AugmentConfig(kind="none"))

    def batches(**named: int) -> list[list[str]]:
        return [[sample.clip_id for sample in batch] for batch in epoch_of(plain, experiment=plainly, **named)]

    assert batches() == batches()
    met = [{frozenset(batch) for batch in batches(seed=seed, epoch=epoch)} for seed in (3, 4) for epoch in (1, 2)]
    for one, other in combinations(met, 2):
        assert len(one & other) < len(one) / 2
