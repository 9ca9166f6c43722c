# SPDX-License-Identifier: Apache-2.0
"""A CLIP of transformers with random weights, small enough to look at a picture in milliseconds."""

from pathlib import Path

import torch

from neural_core import others

LONGEST = 24


def write_tiny_clip(folder: Path, seed: int = 0) -> Path:
    """Write the folder as published ones are, and return it. Its words are letters."""
    modeling, tokenization = (
        others.library(f"transformers.models.clip.{part}_clip", "The test", "style")
        for part in ("modeling", "tokenization")
    )
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), ",</w>", "<|startoftext|>", "<|endoftext|>"]
    start, end = len(words) - 2, len(words) - 1
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**size, "vocab_size": len(words), "max_position_embeddings": LONGEST, "bos_token_id": start,
            "eos_token_id": end, "pad_token_id": end}  # fmt: skip
    vision = {**size, "image_size": 16, "patch_size": 4}
    torch.manual_seed(seed)
    network = modeling.CLIPModel(modeling.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    with torch.no_grad():  # transformers draws weights so small that all texts would lie at one place
        for value in network.parameters():
            if value.ndim > 1:
                value.normal_(0, 1.5 * value[0].numel() ** -0.5)
    network.save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenization.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder
