"""Small networks of transformers with random weights, in folders as published ones are. Loads torch when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mien.features.extractors.speech_encoder import TINY as SPEECH

IMAGES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 42, "patch_size": 14}
SQUARE = {"height": 42, "width": 42}


def write_network(folder: Path, kind: Any, config: Any, processor: Any, *, seed: int = 7, shard: str = "1GB") -> Path:
    """kind: a class of networks. shard: the most that a file of weights may hold."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = kind._from_config(config)
    network.save_pretrained(folder, max_shard_size=shard)
    processor.save_pretrained(folder)
    return folder


def write_wav2vec2(folder: Path, **how: Any) -> Path:
    """For speech-encoder. how: as for write_network."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    return write_network(folder, Wav2Vec2Model, Wav2Vec2Config(**SPEECH), Wav2Vec2FeatureExtractor(), **how)


def write_vit(folder: Path, **how: Any) -> Path:
    """For image-encoder."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    return write_network(folder, ViTModel, ViTConfig(**IMAGES), ViTImageProcessor(size=SQUARE), **how)
