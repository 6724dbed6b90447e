"""Makes clip/: a tiny random CLIP as Hugging Face saves it (f16), and the features that transformers computes with it.

    pip install torch transformers pillow
    python tests/golden/make_preprocess.py && python tests/golden/make_clip.py

Its tokenizer is the small vocabulary of tokens/; its pictures are those of preprocess/.
"""

import io
import json
import shutil
from pathlib import Path

import torch
from PIL import Image, ImageOps
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from make_preprocess import HERE, TEXTS, Reference

FOLDER = HERE / "clip"
CONTEXT = 24
PICTURES = ["wide.png", "tall.png", "square.png", "grey.png", "rgba.png", "420.jpg", "cmyk.jpg", "exif_6.jpg", "small.png"]


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    lines = (HERE / "tokens" / "merges.txt").read_text().splitlines()[1:]
    reference = Reference([tuple(line.split(" ")) for line in lines])
    size = len(reference.ids)
    config = CLIPConfig(
        projection_dim=20,
        text_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "vocab_size": size, "max_position_embeddings": CONTEXT, "bos_token_id": size - 2, "eos_token_id": size - 1,
        },
        vision_config={
            "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 3,
            "image_size": 24, "patch_size": 6,
        },
    )
    torch.manual_seed(0)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Away from the start's ones, zeros and tiny values, where a wrong norm or bias would not show.
            parameter += torch.randn_like(parameter) * (0.1 if parameter.ndim == 1 else 0.05)
    model.half().save_pretrained(FOLDER)
    model.float()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    processor.save_pretrained(FOLDER)
    for name in ["vocab.json", "merges.txt"]:
        shutil.copy(HERE / "tokens" / name, FOLDER / name)

    images, texts = {}, []
    with torch.no_grad():
        for name in PICTURES:
            image = Image.open(io.BytesIO((HERE / "preprocess" / name).read_bytes()))
            # Alpha is dropped, as CLIP does; the newest transformers put it over white.
            image = ImageOps.exif_transpose(image).convert("RGB")
            pixels = processor(image, return_tensors="pt")["pixel_values"]
            images[name] = model.visual_projection(model.vision_model(pixels).pooler_output)[0].tolist()
        for text in TEXTS:
            ids = torch.tensor([reference.encode(text, CONTEXT)])
            features = model.text_projection(model.text_model(ids).pooler_output)[0].tolist()
            texts.append({"text": text, "features": features})
    (FOLDER / "expected.json").write_text(json.dumps({"images": images, "texts": texts}, indent=None) + "\n")


if __name__ == "__main__":
    main()
