"""predictions.parquet: what is written comes back, each column under its own name."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import MienError
from mien.experiment.target import TargetSpec
from mien.folder import Folder
from mien.results.predictions import Predicted, read_predictions, write_predictions
from mien.results.run import Run

THREE = TargetSpec("classes", ("anger", "fear", "joy"), "uar")
PLANE = TargetSpec("dimensions", ("valence", "arousal"), "ccc")
IDS = np.array(["c/3", "c/1", "c/2"])


def predicted(truth, values) -> Predicted:
    return Predicted(IDS, np.array(["c/B", "c/A", "c/A"]), np.array(["c"] * 3), np.array(truth), np.array(values))


def test_columns_of_classes_are_named_after_their_class(tmp_path):
    run = Run(Folder(tmp_path), 0, 0)
    p = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]]
    write_predictions(run, THREE, {"validation": predicted([0, 1, 2], p), "test": predicted([2, 1, 0], p[::-1])})
    frame = run.predictions().to_pandas()
    assert list(frame) == ["clip_id", "subject", "corpus", "side", "truth", "p_anger", "p_fear", "p_joy"]
    first = frame[(frame["clip_id"] == "c/3") & (frame["side"] == "validation")].iloc[0]
    assert (first["truth"], first["p_anger"], first["p_fear"], first["p_joy"]) == (0, 0.7, 0.2, 0.1)
    found = read_predictions(run, THREE, "validation")
    assert found.clip_ids.tolist() == ["c/1", "c/2", "c/3"]
    assert found.subjects.tolist() == ["c/A", "c/A", "c/B"]
    assert found.truth.tolist() == [1, 2, 0] and found.truth.dtype == np.int64
    assert found.values.tolist() == [p[1], p[2], p[0]]
    assert read_predictions(run, THREE, "test").truth.tolist() == [1, 0, 2]


def test_columns_of_dimensions_are_named_after_them_and_missing_ratings_stay_missing(tmp_path):
    run = Run(Folder(tmp_path), 0, 0)
    truth = [[0.5, np.nan], [-0.25, 0.75], [np.nan, -1.0]]
    values = [[0.4, 0.1], [0.0, 0.5], [0.25, -0.5]]
    write_predictions(run, PLANE, {"test": predicted(truth, values)})
    frame = run.predictions().to_pandas()
    expected = ["truth_valence", "truth_arousal", "predicted_valence", "predicted_arousal"]
    assert list(frame) == ["clip_id", "subject", "corpus", "side", *expected]
    assert frame[expected].iloc[1].tolist() == [-0.25, 0.75, 0.0, 0.5]
    assert run.predictions()["truth_arousal"].null_count == 1
    found = read_predictions(run, PLANE, "test")
    np.testing.assert_array_equal(found.truth, [truth[1], truth[2], truth[0]])
    np.testing.assert_array_equal(found.values, [values[1], values[2], values[0]])
    assert len(read_predictions(run, PLANE, "validation").clip_ids) == 0


def test_predictions_of_another_target_are_refused(tmp_path):
    run = Run(Folder(tmp_path), 0, 0)
    write_predictions(run, THREE, {"test": predicted([0, 1, 2], np.eye(3))})
    with pytest.raises(MienError, match=r"lacks predicted_arousal, predicted_valence, truth_arousal, truth_valence"):
        read_predictions(run, PLANE, "test")
    with pytest.raises(ValueError, match="of 3 clips of the test side"):
        write_predictions(run, THREE, {"test": predicted([0, 1], np.eye(3))})
    with pytest.raises(ValueError, match=r"predictions \(3, 2\)"):
        write_predictions(run, THREE, {"test": predicted([0, 1, 2], np.eye(3)[:, :2])})
