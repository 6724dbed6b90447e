"""Compares `trainer embed` and `trainer tokenize` with Hugging Face transformers on random CLIPs, full size and small.

    pip install torch transformers pillow
    cargo build -p trainer
    python tests/golden/hf_parity.py target/debug/trainer MERGES [--small]

MERGES is CLIP's bpe_simple_vocab_16e6.txt.gz. For each model (ViT-B/16 at full size; 2 layers; as one file, sharded, in
f16 and in bf16) it prints the largest difference of each feature relative to its largest entry, and fails above 1e-4.
A test needs no Python: tests/clip_parity.rs reads a tiny model's features from clip/.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageOps
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from make_preprocess import TEXTS, Reference, exif, picture

TOLERANCE = 1e-4
LAYERS_2 = {"num_hidden_layers": 2, "num_attention_heads": 2}


def pictures(folder):
    """Three shapes, grey, alpha, turned, and a JPEG in the usual halved colours."""
    rgb = Image.fromarray
    files = {
        "wide.png": (rgb(picture(500, 333)), {}),
        "tall.png": (rgb(picture(240, 640)), {}),
        "small.png": (rgb(picture(90, 90)), {}),
        "grey.png": (rgb(picture(300, 260)[..., 0]), {}),
        "alpha.png": (rgb(picture(300, 260, 4)), {}),
        "photo.jpg": (rgb(picture(400, 301)), {"quality": 90}),
        "turned.jpg": (rgb(picture(400, 301)), {"quality": 90, "exif": exif(6)}),
    }
    for name, (image, options) in files.items():
        image.save(folder / name, **options)
    return [folder / name for name in files]


def texts():
    words = "a photo of the red fox that jumps over one lazy dog and eats pizza in 2024 at Tom's café".split()
    return ["", " ".join(words[:5]), " ".join(words[i % len(words)] for i in range(200)), "½ naïve façade, 日本 🍕!!"]


def difference(found, expected):
    return float(numpy.abs(numpy.array(found) - expected).max() / numpy.abs(expected).max())


class Program:
    def __init__(self, path, clip):
        self.path, self.clip = str(path), str(clip)

    def __call__(self, command, *arguments):
        call = [self.path, command, "--clip", self.clip, *map(str, arguments)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(call)}: {done.stderr}")
        return json.loads(done.stdout)


def compare(name, config, arguments, reference, images, dtype=torch.float32, **saving):
    torch.manual_seed(0)
    model = CLIPModel(config).eval().to(dtype)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save_pretrained(folder, **saving)
        processor = CLIPImageProcessorPil()
        processor.save_pretrained(folder)
        merges = sorted(reference.ranks, key=reference.ranks.get)
        (folder / "vocab.json").write_text(json.dumps(reference.ids))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
        if saving:
            # The other form of the tokenizer, as Hugging Face writes it.
            CLIPTokenizer(vocab=reference.ids, merges=merges, model_max_length=77).save_pretrained(folder)
            for file in ["vocab.json", "merges.txt"]:
                (folder / file).unlink(missing_ok=True)
        program = Program(arguments.trainer, folder)
        model = model.float()
        worst = {}
        with torch.no_grad():
            for path in images:
                # Alpha is dropped, as CLIP does; the newest transformers put it over white.
                image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
                pixels = processor(image, return_tensors="pt")["pixel_values"]
                expected = model.visual_projection(model.vision_model(pixels).pooler_output)[0].numpy()
                found = program("embed", "--image", path, "--json")
                assert not found.get("text")
                worst[path.name] = difference(found["image"], expected)
            for text in texts():
                ids = torch.tensor([reference.encode(text, 77)])
                expected = model.text_projection(model.text_model(ids).pooler_output)[0].numpy()
                found = program("embed", "--text", text, "--json")
                worst[f"{len(text)} letters"] = difference(found["text"], expected)
            both = program("embed", "--image", images[0], "--text", text, "--json")
            worst["both"] = difference(both["text"], expected)
        for text in TEXTS:
            found = program("tokenize", text) if "\0" not in text else None
            if found != reference.encode(text, 77):
                sys.exit(f"{name}: tokens of {text!r} differ: {found}")
    print(f"{name}: at most {max(worst.values()):.1e}", json.dumps({k: float(f"{v:.1e}") for k, v in worst.items()}))
    return max(worst.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("trainer", type=Path)
    parser.add_argument("merges", type=Path)
    parser.add_argument("--small", action="store_true", help="only the 2-layer models")
    arguments = parser.parse_args()
    lines = gzip.open(arguments.merges, "rt", encoding="utf-8").read().split("\n")[1 : 49152 - 256 - 2 + 1]
    reference = Reference([tuple(line.split()) for line in lines])
    ends = {"bos_token_id": 49406, "eos_token_id": 49407}
    small = CLIPConfig(
        projection_dim=32,
        text_config={"hidden_size": 64, "intermediate_size": 128, **LAYERS_2, **ends},
        vision_config={"hidden_size": 64, "intermediate_size": 128, "patch_size": 32, **LAYERS_2},
    )
    gelu = CLIPConfig(
        projection_dim=32,
        text_config={"hidden_size": 64, "intermediate_size": 128, "hidden_act": "gelu", **LAYERS_2, **ends},
        vision_config={"hidden_size": 96, "intermediate_size": 128, "hidden_act": "gelu", "patch_size": 16, **LAYERS_2},
    )
    full = CLIPConfig(text_config=ends, vision_config={"patch_size": 16})
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        images = pictures(Path(folder))
        worst = [
            compare("2 layers", small, arguments, reference, images),
            compare("2 layers, sharded", small, arguments, reference, images, max_shard_size="2MB"),
            compare("2 layers, f16", small, arguments, reference, images, torch.float16),
            compare("2 layers, bf16", small, arguments, reference, images, torch.bfloat16),
            compare("2 layers, gelu", gelu, arguments, reference, images),
        ]
        if not arguments.small:
            worst.append(compare("ViT-B/16", full, arguments, reference, images))
            worst.append(compare("ViT-B/16, sharded", full, arguments, reference, images[:1], max_shard_size="200MB"))
    print(f"largest difference {max(worst):.1e} (allowed {TOLERANCE:.0e}), {time.time() - start:.0f} s")
    sys.exit(0 if max(worst) <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
