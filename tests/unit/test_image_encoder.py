"""Image networks on faces: what transformers' own processor and model give, without a random weight that nobody named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features import extractors
from mien.features.extractors.frames import cut
from tiny_faces import FACE

pytestmark = pytest.mark.torch

BOX = np.array([70.0, 40.0, 190.0, 190.0], np.float32)
RATE_HZ = 5.0
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 42, "patch_size": 14}
KINDS = ("dinov2", "clip", "vit")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks of each kind with random weights, as save_pretrained writes published ones."""
    import torch
    import transformers as hf

    hf.utils.logging.disable_progress_bar()
    root = tmp_path_factory.mktemp("networks")
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50, "eos_token_id": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        networks = {
            "dinov2": hf.Dinov2Model(hf.Dinov2Config(**TINY)),
            "clip": hf.CLIPModel(hf.CLIPConfig(vision_config=TINY, text_config={**text, "bos_token_id": 0})),
            "vit": hf.ViTModel(hf.ViTConfig(**TINY)),
            "classifier": hf.ViTForImageClassification(hf.ViTConfig(**TINY)),
            "convnext": hf.ConvNextModel(hf.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 16])),
        }
    square = {"height": 42, "width": 42}
    processors = {
        "dinov2": hf.BitImageProcessor(size={"shortest_edge": 48}, crop_size=square),
        "clip": hf.CLIPImageProcessor(size={"shortest_edge": 42}, crop_size=square),
        "vit": hf.ViTImageProcessor(size=square),
        "classifier": hf.ViTImageProcessor(size=square),
        "convnext": hf.ConvNextImageProcessor(size={"shortest_edge": 64}),
    }
    for name, network in networks.items():
        network.save_pretrained(root / name)
        processors[name].save_pretrained(root / name)
    return {name: root / name for name in networks}


def given(n: int) -> list[tuple[NDArray[np.uint8], NDArray[np.float32] | None]]:
    """Faces that move, without one in each fourth picture."""
    return [(FACE, None if k % 4 == 3 else BOX + np.float32(2 * k)) for k in range(n)]


def second_opinion(folder: Path, kind: str, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """transformers' documented way, one picture after the other: its processor, its class by name.

    DINOv2's processor scales to 48 pixels and cuts 42 out of the middle; told to scale to 42, it leaves all of the cut.
    """
    import torch
    import transformers as hf

    processor = hf.AutoImageProcessor.from_pretrained(folder)
    options = {"size": {"shortest_edge": 42}} if kind == "dinov2" else {}
    network = {"dinov2": hf.Dinov2Model, "clip": hf.CLIPVisionModel, "vit": hf.ViTModel}[kind].from_pretrained(folder)
    with torch.inference_mode():
        return np.stack(
            [network(**processor(one, **options, return_tensors="pt")).pooler_output[0].numpy() for one in pictures]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_what_transformers_gives(folders: dict[str, Path], kind: str) -> None:
    """To 2e-5: one after the other and in batches, float32 rounds in another order."""
    extractor = extractors.build("image-encoder", model=str(folders[kind]))
    assert (extractor.spec.settings["size_px"], extractor.spec.dim) == (42, 32)
    faces = given(21)
    values, valid = extractor(faces, RATE_HZ)
    assert valid.tolist() == [k % 4 != 3 for k in range(21)]
    assert not values[~valid].any()
    cuts = [cut(picture, box, 0.2, 42).copy() for picture, box in faces if box is not None]
    expected = second_opinion(folders[kind], kind, cuts)
    assert expected.std(axis=0).max() > 0.01  # the faces differ
    np.testing.assert_allclose(values[valid], expected, atol=2e-5)


def test_values_are_scaled_by_the_mean_and_deviation_of_the_networks_own_recipe(folders: dict[str, Path]) -> None:
    """By the formula: CLIP's published mean and deviation, numpy and no processor."""
    import torch
    import transformers as hf

    face = cut(FACE, BOX, 0.2, 42)
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = ((face / 255 - mean) / deviation).transpose(2, 0, 1)[None].astype(np.float32)
    with torch.inference_mode():
        expected = hf.CLIPVisionModel.from_pretrained(folders["clip"])(torch.from_numpy(pixels)).pooler_output.numpy()
    extractor = extractors.build("image-encoder", model=str(folders["clip"]))
    np.testing.assert_allclose(extractor([(FACE, BOX)], RATE_HZ).values, expected, atol=2e-5)


def test_outputs_are_tokens_of_the_last_layer(folders: dict[str, Path]) -> None:
    import torch
    import transformers as hf

    pixels = hf.AutoImageProcessor.from_pretrained(folders["vit"])(cut(FACE, BOX, 0.2, 42), return_tensors="pt")
    with torch.inference_mode():
        tokens = hf.ViTModel.from_pretrained(folders["vit"])(**pixels).last_hidden_state[0].numpy()
    for output, expected in (("cls", tokens[0]), ("mean", tokens.mean(axis=0))):
        extractor = extractors.build("image-encoder", model=str(folders["vit"]), output=output)
        np.testing.assert_allclose(extractor([(FACE, BOX)], RATE_HZ).values[0], expected, atol=2e-5)


def test_a_face_has_the_same_numbers_whatever_it_shares_a_batch_with(folders: dict[str, Path]) -> None:
    extractor = extractors.build("image-encoder", model=str(folders["clip"]))
    together = extractor(given(11), RATE_HZ).values
    np.testing.assert_array_equal(extractor(given(11)[9:10], RATE_HZ).values[0], together[9])


def test_weights_that_the_files_lack_are_refused(folders: dict[str, Path]) -> None:
    """A classifier has no pooler: transformers would make one up, at random and each time another."""
    with pytest.raises(MienError, match=r"lack 2 weights of it, such as pooler\.dense\.bias, which would be random"):
        extractors.build("image-encoder", model=str(folders["classifier"]))
    extractor = extractors.build("image-encoder", model=str(folders["classifier"]), output="cls")
    assert extractor([(FACE, BOX)], RATE_HZ).values.any()


def test_a_convolutional_network_has_a_pooled_output_and_no_tokens(folders: dict[str, Path]) -> None:
    assert extractors.build("image-encoder", model=str(folders["convnext"])).spec.shape == (16,)
    for output in ("cls", "mean"):
        with pytest.raises(
            MienError, match=f"ConvNextModel gives no output '{output}' of a picture .its last layer has"
        ):
            extractors.build("image-encoder", model=str(folders["convnext"]), output=output)


def test_bfloat16_is_near(folders: dict[str, Path]) -> None:
    usual, short = (
        extractors.build("image-encoder", model=str(folders["clip"]), dtype=dtype) for dtype in ("float32", "bfloat16")
    )
    assert usual.spec.folder != short.spec.folder
    one, other = (extractor([(FACE, BOX)], RATE_HZ).values for extractor in (usual, short))
    assert 0 < np.abs(one - other).max() < 0.05


def test_the_checksum_of_the_files_is_in_the_spec(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    def spec(folder: Path) -> Any:
        return extractors.build("image-encoder", model=str(folder)).spec

    copy = Path(shutil.copytree(folders["vit"], tmp_path / "copy"))
    assert spec(copy) == spec(folders["vit"])
    config = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**config, "image_mean": [0.4, 0.5, 0.6]}))
    assert spec(copy).settings["weights"] != spec(folders["vit"]).settings["weights"]


def test_random_weights_are_named_as_facenets_are() -> None:
    """Reports warn of features whose spec says so (mien.results.report.caveats)."""
    extractor = extractors.build("image-encoder", model="random")
    assert extractor.spec.settings["weights"] == "random"


def test_what_cannot_be_had_is_said_in_one_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    def refused(message: str, **settings: Any) -> None:
        with pytest.raises(MienError, match=message) as error:
            extractors.build("image-encoder", **settings)
        assert "\n" not in str(error.value)

    refused("no such folder", model=str(tmp_path / "absent"))
    refused(r"no config\.json", model=str(tmp_path))
    (tmp_path / "config.json").write_text((folders["vit"] / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle, which could run anything")
    refused(r"no model\.safetensors .* other kinds of weights are not read", model=str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    refused("its weights cannot be read", model=str(tmp_path))
    refused("a folder has no revision main", model=str(folders["vit"]), revision="main")
    with pytest.raises(ExperimentError, match="rate_hz 0 must be above 0"):
        extractors.build("image-encoder", model="random", rate_hz=0.0)


def test_a_hub_that_does_not_answer_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        MienError, match="model facebook/no-such-network: no such folder, and not to be had from the hub"
    ):
        extractors.build("image-encoder", model="facebook/no-such-network")


def test_what_the_hub_sent_before_is_found_without_it(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    commit = "0" * 40
    repository = tmp_path / "models--somebody--faces"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / commit).symlink_to(folders["vit"])
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    spec = extractors.build("image-encoder", model="somebody/faces").spec
    assert spec == extractors.build("image-encoder", model=str(folders["vit"])).spec
