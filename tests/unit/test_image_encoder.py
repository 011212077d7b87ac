"""Image networks on faces: what transformers' own processor and model give, without a random weight that nobody named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.errors import ExperimentError, MienError
from mien.features import extractors
from mien.features.extractors.frames import cut
from tiny_faces import FACE
from tiny_networks import IMAGES, SQUARE, write_network

pytestmark = pytest.mark.torch

BOX = np.array([70.0, 40.0, 190.0, 190.0], np.float32)
RATE_HZ = 5.0
KINDS = ("dinov2", "clip", "vit")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks of each kind with random weights, as save_pretrained writes published ones."""
    import transformers as hf

    root, vit = tmp_path_factory.mktemp("networks"), (hf.ViTConfig(**IMAGES), hf.ViTImageProcessor(size=SQUARE))
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50, "eos_token_id": 1}
    networks = {
        "dinov2": (
            hf.Dinov2Model,
            hf.Dinov2Config(**IMAGES),
            hf.BitImageProcessor(size={"shortest_edge": 48}, crop_size=SQUARE),
        ),
        "clip": (
            hf.CLIPModel,
            hf.CLIPConfig(vision_config=IMAGES, text_config={**text, "bos_token_id": 0}),
            hf.CLIPImageProcessor(size={"shortest_edge": 42}, crop_size=SQUARE),
        ),
        "vit": (hf.ViTModel, *vit),
        "classifier": (hf.ViTForImageClassification, *vit),
        "convnext": (
            hf.ConvNextModel,
            hf.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 16]),
            hf.ConvNextImageProcessor(size={"shortest_edge": 64}),
        ),
    }
    return {name: write_network(root / name, *network, seed=3) for name, network in networks.items()}


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
        extractors.build("image-encoder", model=str(folders["clip"]), precision=p) for p in ("float32", "bfloat16")
    )
    assert usual.spec.folder != short.spec.folder
    one, other = (extractor([(FACE, BOX)], RATE_HZ).values for extractor in (usual, short))
    assert 0 < np.abs(one - other).max() < 0.05


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ExperimentError, match="rate_hz 0 must be above 0"):
        extractors.build("image-encoder", model="random", rate_hz=0.0)
