"""Extractors in a process of their own: what they are, what they make of a clip, and how they fail."""

from __future__ import annotations

import numpy as np
import pytest

from mien.corpora.clip import Medium
from mien.errors import ExperimentError, MediaError
from mien.features import extractors
from mien.features.host import ExtractorHost
from mien.features.recipe import ExtractorRecipe
from tiny_extractors import SoundExtractor
from tiny_media import voice, write_wav


@pytest.fixture(scope="module")
def wav(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("host") / "a.wav"
    write_wav(path, voice(1.3), 16_000)
    return str(path)


@pytest.mark.slow
def test_it_describes_its_extractors_with_all_their_settings():
    asked = {
        "loud": ExtractorRecipe("tiny_extractors:Loudness"),
        "bright": ExtractorRecipe("tiny_extractors:Brightness", {"rate_hz": 7.0}),
    }
    with ExtractorHost(asked) as host:
        loud, bright = host.descriptions["loud"], host.descriptions["bright"]
    assert (loud.spec, loud.medium, loud.is_heavy) == (SoundExtractor().spec, "audio", False)
    assert (bright.medium, bright.settings["rate_hz"]) == ("video", 7.0)


@pytest.mark.slow
def test_its_frames_are_those_of_the_extractor_here(wav):
    from mien.features.media import decode

    here = extractors.build("tiny_extractors:Loudness")
    expected = here(decode("sound", Medium(path=wav), here.rate_hz), here.rate_hz)
    with ExtractorHost(
        {"loud": ExtractorRecipe("tiny_extractors:Loudness"), "bright": ExtractorRecipe("tiny_extractors:Brightness")}
    ) as host:
        for _ in range(2):  # it goes on after an answer
            frames = host.frames({"audio": Medium(path=wav)})
            assert set(frames) == {"loud"}, "there is no video to extract the other from"
            np.testing.assert_array_equal(frames["loud"].values, expected.values)


@pytest.mark.slow
def test_a_medium_that_cannot_be_used_is_an_error_with_its_reason_and_no_end(wav):
    with ExtractorHost({"loud": ExtractorRecipe("tiny_extractors:Loudness")}) as host:
        with pytest.raises(MediaError, match="no such file") as error:
            host.frames({"audio": Medium(path=wav + "x")})
        assert error.value.reason == "missing"
        assert len(host.frames({"audio": Medium(path=wav)})["loud"].values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        (ExtractorRecipe("nonsense"), "unknown features 'nonsense'"),
        (ExtractorRecipe("tiny_extractors:Stillborn"), "the process that extracts features ended with"),
        (ExtractorRecipe("egemaps", {"window_s": -1.0}), "window"),
    ],
)
def test_what_cannot_be_built_is_a_sentence(recipe, named):
    with pytest.raises(ExperimentError, match=named):
        ExtractorHost({"x": recipe})


@pytest.mark.slow
def test_the_process_ends_with_its_context():
    with ExtractorHost({"loud": ExtractorRecipe("tiny_extractors:Loudness")}) as host:
        process = host._process
        assert process.poll() is None
    assert process.poll() is not None
