"""How clips are cut into the batches that become parts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mien.features.prepare.tasks import ClipTask, batches, largest_part


def sizes(n_clips: int, workers: int, largest: int) -> list[int]:
    tasks = [ClipTask(str(number), {}, (0,)) for number in range(n_clips)]
    cut = list(batches(tasks, workers, largest))
    assert [task for batch in cut for task in batch] == tasks
    return [len(batch) for batch in cut]


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(1, 64), st.sampled_from([8, 64]))
def test_every_clip_is_in_one_batch_and_batches_shrink(n_clips, workers, largest):
    cut = sizes(n_clips, workers, largest)
    assert cut == sorted(cut, reverse=True)
    assert max(cut, default=0) <= largest
    assert all(size >= 4 for size in cut[:-1])


def test_all_workers_have_work_until_shortly_before_the_end():
    assert sizes(1440, 2, 64)[:3] == [64, 64, 64]
    assert sizes(1440, 2, 64)[-4:] == [4, 4, 4, 2]
    assert sizes(0, 2, 64) == []
    assert sizes(5, 8, 64) == [4, 1]


def test_parts_of_a_large_corpus_are_larger_and_those_of_heavy_features_smaller():
    assert [largest_part(False, n) for n in (10, 640_000, 1_280_000, 10_000_000, 10**9)] == [64, 64, 128, 1000, 1024]
    assert [largest_part(True, n) for n in (10, 80_000, 160_000, 10**7)] == [8, 8, 16, 128]
