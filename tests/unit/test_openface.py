"""OpenFace CSV files of every layout become the same 35 columns, masked where OpenFace saw no face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.errors import MediaError
from mien.features import extractors
from mien.features.extractors.openface import ACTION_UNITS, HOP_S, read_openface

ONES = dict.fromkeys(ACTION_UNITS, 1.0)


def write_csv(path: Path, rows: list[dict[str, object]], separator: str = ",") -> str:
    lines = [separator.join(rows[0])] + [separator.join(str(value) for value in row.values()) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_there_are_35_units() -> None:
    assert len(ACTION_UNITS) == 35
    assert sum(unit.endswith("_r") for unit in ACTION_UNITS) == 17
    assert "AU28_c" in ACTION_UNITS
    assert "AU28_r" not in ACTION_UNITS


@pytest.mark.parametrize("separator", [",", ", ", ";"])
def test_separators_and_the_order_of_columns_do_not_matter(tmp_path: Path, separator: str) -> None:
    units = {unit: float(i) for i, unit in enumerate(ACTION_UNITS)}
    shuffled = dict(sorted(units.items(), key=lambda item: item[0][::-1]))
    track = read_openface(write_csv(tmp_path / "a.csv", [{"frame": 1, **shuffled}] * 3, separator))
    np.testing.assert_array_equal(track.frames.values, [np.arange(35.0)] * 3)
    np.testing.assert_allclose(track.times_s, [0, HOP_S, 2 * HOP_S])


def test_failures_doubts_and_gaps_are_masked(tmp_path: Path) -> None:
    good = {"timestamp": 0.0, "confidence": 0.98, "success": 1, **ONES}
    rows = [
        good,
        {**good, "success": 0},
        {**good, "confidence": 0.3},
        {**good, "AU45_c": "nan"},
        {**good, "AU01_r": ""},
    ]
    frames = read_openface(write_csv(tmp_path / "a.csv", rows)).frames
    assert frames.valid.tolist() == [True, False, False, False, False]
    assert not frames.values[1:].any()


@pytest.mark.parametrize("time_s", [1e9, -1.0, "nan", "inf"])
def test_a_timestamp_far_off_does_not_ask_for_years_of_frames(tmp_path: Path, time_s: object) -> None:
    rows = [{"timestamp": at_s, **ONES} for at_s in (0.0, 0.1, time_s)]
    path = write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(MediaError, match="a.csv: its timestamps fall, jump or are no numbers") as error:
        extractors.build("openface")(path, 0.0)
    assert error.value.reason == "bad-times"


def test_a_person_who_leaves_the_room_for_long_is_no_jump(tmp_path: Path) -> None:
    rows = [{"face_id": k % 2, "timestamp": 300.0 * k, **ONES} for k in range(5)]
    rows += [{"face_id": 0, "timestamp": 1200.0 + 300 * k, **ONES} for k in range(1, 4)]
    rows += [{"face_id": 1, "timestamp": 2100.0 + k, **ONES} for k in range(9)]
    assert read_openface(write_csv(tmp_path / "a.csv", rows)).times_s.tolist()[:3] == [300.0, 900.0, 2100.0]


def test_of_several_faces_the_one_seen_most(tmp_path: Path) -> None:
    rows = [
        {"face_id": face, "timestamp": 0.1 * k, **dict.fromkeys(ACTION_UNITS, face)}
        for k, face in enumerate([0, 2, 2, 1])
    ]
    track = read_openface(write_csv(tmp_path / "a.csv", rows))
    np.testing.assert_allclose(track.times_s, [0.1, 0.2])
    assert (track.frames.values == 2).all()


def test_frames_are_laid_on_a_constant_clock(tmp_path: Path) -> None:
    """25 Hz with a hole of half a second: every frame has the nearest row, the hole is masked."""
    times_s = [k * 0.04 for k in range(10)] + [0.9 + k * 0.04 for k in range(10)]
    rows = [{"timestamp": t, **dict.fromkeys(ACTION_UNITS, t)} for t in times_s]
    frames = extractors.build("openface")(write_csv(tmp_path / "a.csv", rows), 0.0)
    clock_s = np.arange(len(frames.values)) * HOP_S
    assert clock_s[-1] == pytest.approx(times_s[-1], abs=HOP_S)
    nearest = np.array([min(times_s, key=lambda t: abs(t - now)) for now in clock_s])
    np.testing.assert_array_equal(frames.valid, np.abs(nearest - clock_s) <= HOP_S)
    np.testing.assert_allclose(frames.values[frames.valid, 0], nearest[frames.valid], atol=1e-6)
    assert not frames.values[~frames.valid].any()
    assert 0.3 < (~frames.valid).sum() * HOP_S < 0.5


def test_a_clip_is_the_mean_of_what_was_seen(tmp_path: Path) -> None:
    rows = [{"success": s, **dict.fromkeys(ACTION_UNITS, v)} for s, v in [(1, 1.0), (1, 2.0), (0, 50.0)]]
    clip = extractors.build("openface-clip")
    frames = clip(write_csv(tmp_path / "a.csv", rows), 0.0)
    np.testing.assert_array_equal(frames.values, np.full((1, 35), 1.5))
    blind = clip(write_csv(tmp_path / "b.csv", rows[2:]), 0.0)
    assert blind.values.shape == (1, 35)
    assert not blind.valid.any()


def test_a_row_of_a_table(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "means.csv", [{"clip": "a", **ONES}, {"clip": "b", **dict.fromkeys(ACTION_UNITS, 2.0)}]
    )
    clip = extractors.build("openface-clip")
    assert clip(f"{table}#b", 0.0).values.tolist() == [[2.0] * 35]
    with pytest.raises(MediaError, match="no row for clip c"):
        clip(f"{table}#c", 0.0)
    with pytest.raises(MediaError) as error:
        extractors.build("openface")(f"{table}#a", 0.0)
    assert error.value.reason == "bad-table"


@pytest.mark.parametrize("column", ["clip", "clip_id", "file"])
def test_the_column_that_names_the_clips(tmp_path: Path, column: str) -> None:
    table = write_csv(tmp_path / "means.csv", [{column: "a", **ONES}])
    assert extractors.build("openface-clip")(f"{table}#a", 0.0).valid.all()


def test_a_table_must_name_its_clips_once(tmp_path: Path) -> None:
    for k, names in enumerate([{}, {"clip": "a", "file": "a"}]):
        table = write_csv(tmp_path / f"{k}.csv", [{**names, **ONES}])
        with pytest.raises(MediaError, match="clip_id or file or clip") as error:
            extractors.build("openface-clip")(f"{table}#a", 0.0)
        assert error.value.reason == "missing-columns"


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("", "empty", "no rows"),
        (",".join(ACTION_UNITS), "empty", "no rows"),
        ("frame,AU01_r\n1,0.5\n", "missing-columns", "AU02_r"),
        (",".join(ACTION_UNITS) + "\n" + ",".join(["1"] * 20), "truncated", "line 2: 20 fields, expected 35"),
        (",".join(ACTION_UNITS) + "\n" + ",".join(["high"] * 35), "bad-table", "high"),
    ],
)
def test_what_is_no_openface_file_says_why(tmp_path: Path, text: str, reason: str, detail: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(MediaError, match=detail) as error:
        read_openface(str(path))
    assert error.value.reason == reason


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as error:
        read_openface(str(tmp_path / "gone.csv"))
    assert error.value.reason == "missing"


@pytest.mark.parametrize(("name", "n_rows"), [("OpenFace_Test.csv", 100), ("openface2_au_only_header.csv", 3)])
def test_both_real_layouts(real_data: Path, name: str, n_rows: int) -> None:
    track = read_openface(str(real_data / "openface" / name))
    assert track.frames.values.shape == (n_rows, 35)
    assert track.frames.valid.all()
    assert track.frames.values[:, :17].max() <= 5
    assert set(np.unique(track.frames.values[:, 17:])) <= {0.0, 1.0}


def test_real_sequences_of_ravdess_go_with_its_table(real_data: Path) -> None:
    """Table and sequences are two runs of OpenFace on one trial: near, not equal."""
    units = real_data / "ravdess/action_units"
    by_frame = sorted((units / "per_frame").rglob("*.csv"))
    assert len(by_frame) == 300
    clip = extractors.build("openface-clip")
    for path in by_frame[::50]:
        n_lines = len(path.read_text().splitlines())
        assert extractors.build("openface")(str(path), 0.0).values.shape == (n_lines - 1, 35)
        mean = clip(f"{units / 'clip_means.csv'}#{path.stem}", 0.0).values
        assert np.median(np.abs(clip(str(path), 0.0).values - mean)) < 0.01
