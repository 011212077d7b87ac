"""What `mien bench extract` computes and prints, worked out by hand; nothing here is timed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from conftest import ROOT
from mien.bench.bare import BARE
from mien.bench.corpora import costs
from mien.bench.extractors import ExtractorRate, compared, decoded, length_s
from mien.bench.media import subject
from mien.cli.bench_tables import COLUMNS, corpora_rows, derived, row
from mien.cli.main import main
from mien.cluster.cost.corpora import OF_MEDIUM, WHOLE, medium_of
from mien.cluster.cost.rates import PrepareRate, Rates, load_rates
from mien.errors import MienError
from mien.features.extractors import EXTRACTORS, build
from tiny_faces import FACE

RATE = ExtractorRate(
    n_clips=6,
    clip_s=4.0,
    is_row=False,
    cpu_s=0.5,
    clock_s=0.6,
    extract_s=0.44,
    bare_s=0.40,
    peak_bytes=200_000_000,
    bytes_per_clip=10_000,
    two_cpu_s=0.52,
    two_clock_s=0.75,
)


def with_bare(bare_s: float | None) -> ExtractorRate:
    return replace(RATE, bare_s=bare_s)


def test_what_follows_from_the_figures() -> None:
    assert derived(RATE) == pytest.approx(
        {
            "realtime_factor": 0.125,
            "overhead": 0.1,
            "mb_per_hour": 9.0,
            "scaling": 2 * 0.5 / 0.52,
            "clock_scaling": 1.6,
        }
    )
    assert with_bare(None).overhead is None
    assert with_bare(0.049).overhead is None, "too little to compare"
    cells = dict(zip(COLUMNS, row("egemaps", RATE), strict=True))
    assert cells == {
        "extractor": "egemaps",
        "a clip": "4.0 s",
        "CPU s": "0.5",
        "clips/s": "2",
        "of real time": "0.12",
        "over the bare call": "+10.0%",
        "peak MB": "200",
        "MB an hour": "9",
        "two at once": "1.92",
    }
    assert dict(zip(COLUMNS, row("physio", with_bare(None))))["over the bare call"] == ""


def test_a_corpus_costs_its_clips_times_their_length() -> None:
    """RAVDESS' 1,440 clips of 3.70 s at twice real time and 10 kB per 4 s; a row a clip does not grow."""
    rates = Rates(
        machine="here",
        uncertainty=2.0,
        prepare={
            "egemaps": PrepareRate(clips_per_s=0.5, clip_s=4.0, bytes_per_clip=10_000),
            "egemaps-clip": PrepareRate(clips_per_s=0.5, clip_s=4.0, bytes_per_clip=1_000, is_row=True),
            "physio": PrepareRate(clips_per_s=1.0, clip_s=81.0, bytes_per_clip=500, is_row=True),
            "own": PrepareRate(clips_per_s=1.0),
        },
    )
    found = {(cost.corpus, cost.feature): cost for cost in costs(rates)}
    ravdess = found["RAVDESS, speech", "egemaps"]
    assert ravdess.core_hours == pytest.approx(1440 * 3.7 / 2 / 3600)
    assert ravdess.n_gb == pytest.approx(1440 * 3.7 / 4 * 10_000 / 1e9)
    assert found["RAVDESS, speech", "egemaps-clip"].n_gb == pytest.approx(1440 * 1_000 / 1e9)
    assert found["AMI", "egemaps"].core_hours == pytest.approx(200), "400 hours of people at twice real time"
    assert found["MAHNOB-HCI", "physio"].core_hours == pytest.approx(527 / 3600)
    assert [corpus for corpus, feature in found if feature == "physio"] == ["MAHNOB-HCI"]
    rows = corpora_rows(list(found.values()), list(WHOLE))
    assert rows[0] == [
        "egemaps",
        "0.74 h, 0.013 GB",
        "0.66 h, 0.012 GB",
        "2.6 h, 0.047 GB",
        "200 h, 3.6 GB",
        "5.9 h, 0.11 GB",
    ]
    assert rows[-1] == ["physio", "", "", "", "", "0.15 h, 0.00026 GB"]


def test_the_package_has_a_measured_rate_of_every_extractor() -> None:
    rates = load_rates()
    assert set(rates.prepare) == set(EXTRACTORS)
    assert all(rate.clips_per_s > 0 and rate.clip_s and rate.bytes_per_clip > 0 for rate in rates.prepare.values())
    assert {cost.feature for cost in costs(rates)} == set(EXTRACTORS)


@pytest.mark.slow
def test_each_extractor_stands_with_the_medium_that_it_reads() -> None:
    assert sorted(name for names in OF_MEDIUM.values() for name in names) == sorted(EXTRACTORS)
    for name in set(EXTRACTORS) - {"facenet", "blendshapes", "speech-encoder", "image-encoder"}:  # without weights
        extractor = build(name)
        assert medium_of(name) == extractor.medium, name
        assert load_rates().prepare[name].is_row == (extractor.spec.hop_s is None), name


def test_what_was_measured_is_a_rate_for_the_table(tmp_path, capsys) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"machine": "2 cores of mine", "extractors": {"egemaps": asdict(RATE) | derived(RATE)}}))
    rates = load_rates([file])
    assert rates.machine == "2 cores of mine"
    assert rates.prepare["egemaps"] == PrepareRate(clips_per_s=2.0, clip_s=4.0, bytes_per_clip=10_000)
    assert rates.prepare["logmel"] == load_rates().prepare["logmel"]
    assert main(["bench", "extract", "--corpora", "--rates", str(file), "--json"]) == 0
    told = {(one["corpus"], one["feature"]): one for one in json.loads(capsys.readouterr().out)}
    assert told["AMI", "egemaps"]["core_hours"] == pytest.approx(400 * 0.125)
    file.write_text(json.dumps({"machine": "mine", "extractors": {"egemaps": {"cpu_s": 1}}}))
    with pytest.raises(MienError, match="--rates .*measured.json: KeyError 'clip_s'.*mien bench extract"):
        load_rates([file])


def test_the_table_says_what_is_assumed(capsys) -> None:
    assert main(["bench", "extract", "--corpora"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for words in (
        "speech-encoder",
        "eeg-raw",
        "100 hours of four people, assumed",
        "4.7 s is assumed",
        "81 s in the mean",
    ):
        assert words in told


def test_the_table_of_the_docs_is_the_one_that_is_printed(capsys) -> None:
    assert main(["bench", "extract", "--corpora"]) == 0
    assert capsys.readouterr().out.strip() in (ROOT / "docs" / "benchmarks.md").read_text()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--features egemap", "unknown features 'egemap': the nearest are egemaps"),
        ("--weights egemaps=x --features egemaps", "--weights egemaps=x: egemaps has none"),
        ("--weights blendshapes", "weights blendshapes: give NAME=PATH, such as speech-encoder=FOLDER"),
        ("--features blendshapes", "blendshapes: no model is given"),
        ("--corpora-root nowhere", "--corpora-root nowhere: no such folder"),
        ("--rates x.json", "--rates is of --corpora"),
        ("--clips 0", "clips 0"),
    ],
)
def test_bad_input_is_named(words, named, capsys) -> None:
    assert main(["bench", "extract", *words.split()]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.slow
def test_a_synthetic_trial_is_as_long_as_the_real_ones_and_can_be_used(tmp_path) -> None:
    (medium,) = subject("physio", tmp_path, n_clips=1).media
    extractor: Any = build("physio")
    signal = decoded(extractor, medium)
    assert length_s(extractor, signal) == pytest.approx(81.0, abs=1 / 256)
    values, valid = extractor(signal, signal.rate_hz)
    present = {name: value for name, value in zip(extractor.spec.columns, values[0]) if name.endswith("_present")}
    del present["lf_present"]  # wants 114 s
    assert valid.all() and all(present.values()), present


def test_tables_of_openface_and_sound_are_measured_in_their_own_length(tmp_path) -> None:
    (medium,) = subject("openface", tmp_path, n_clips=1).media
    extractor: Any = build("openface")
    path = decoded(extractor, medium)
    assert extractor(path, 0.0).valid.all()
    assert length_s(extractor, path) == pytest.approx(110 * 1001 / 30_000)


def test_the_bare_call_does_the_same_work_and_both_are_timed() -> None:
    extractor: Any = build("frames")
    signal = [(FACE, np.array([110, 80, 190, 180], np.float32))] * 3  # its cut has whole pixels for edges
    np.testing.assert_allclose(
        BARE["frames"](extractor, signal)(), np.array(extractor(signal, 25.0).values, int), atol=1
    )
    found = compared("frames", extractor, [signal], 1)
    assert found["extract_s"] and found["bare_s"]
    assert compared("own", extractor, [signal], 1)["bare_s"] is None


@pytest.mark.slow
def test_one_extractor_from_the_command_to_json(capsys) -> None:
    assert main(["bench", "extract", "--features", "openface-clip", "--clips", "2", "--rounds", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (measured,) = told["extractors"].values()
    assert (measured["n_clips"], measured["is_row"], measured["recordings"]) == (2, True, "synthetic")
    assert measured["bytes_per_clip"] > 0 and measured["peak_bytes"] > 2**24
    assert isinstance(told["machine"], str) and "cores" in told["machine"]
