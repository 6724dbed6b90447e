"""Golden outputs of no prompts, MaPLe and missing-aware prompts, re-implemented in plain numpy from docs/method.md, in
double precision.

Writes prompts.safetensors (weights, inputs, expected outputs) and prompts.json (the models' configurations) beside itself:
    python tests/golden/make_prompts.py      # needs numpy and safetensors
What belongs to one of the kinds below has its name in front. Nothing here is shared with the Rust code.
"""

import json
import pathlib

import numpy as np
from reference import CASES, CLIP, WIDTH, Clip, Prompts, Weights
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
CLASSES = 5
MAP = {"method": "map", "init": "normal"}
KINDS = {
    "none": {"method": "none"},
    "maple": {"method": "maple", "length": 5, "depth": 2, "by_case": False},
    "maple_by_case": {"method": "maple", "length": 4, "depth": 3, "by_case": True},
    "map_replace": MAP | {"length": 5, "depth": 2, "level": "input", "growth": "replace"},
    "map_accumulate": MAP | {"length": 4, "depth": 3, "level": "input", "growth": "accumulate"},
    "map_attention": MAP | {"length": 6, "depth": 3, "level": "attention", "growth": "replace"},
    "map_attention_shallow": MAP | {"length": 10, "depth": 1, "level": "attention", "growth": "replace"},
}

# --- weights, names as in docs/method.md and Hugging Face's CLIP -------------------------------------------------
weights = Weights(20251)
weights.clip()
weights.heads(CLASSES)
for kind, config in KINDS.items():
    for layer in range(config.get("depth", 0)):
        if config["method"] == "maple":
            for case in [f"{case}." for case in CASES] if config["by_case"] else [""]:
                weights.put(f"{kind}.prompt.text.{case}{layer}", config["length"], WIDTH["text"], std=1.0)
            weights.linear(f"{kind}.prompt.coupling.{layer}", WIDTH["text"], WIDTH["image"])
        else:
            for tower, absent in [("image", "image_missing"), ("text", "text_missing")]:
                for case in CASES:
                    if case != absent:
                        weights.put(f"{kind}.prompt.rows.{tower}.{case}.{layer}", config["length"], WIDTH[tower], std=1.0)

W = weights.double()
clip = Clip(W)


# --- the formulas --------------------------------------------------------------------------------------------------
class Maple(Prompts):
    def __init__(self, kind, config, case, tower):
        self.layers = []
        for layer in range(config["depth"]):
            rows = W[f"{kind}.prompt.text.{case + '.' if config['by_case'] else ''}{layer}"]
            if tower == "image":
                rows = clip.affine(rows, f"{kind}.prompt.coupling.{layer}")
            self.layers.append(rows)

    def front(self, x):
        return [self.layers[0]]

    def overwrite(self, layer):
        return self.layers[layer] if layer < len(self.layers) else None


class MissingAware(Prompts):
    def __init__(self, kind, config, case, tower):
        self.config = config
        self.layers = [W[f"{kind}.prompt.rows.{tower}.{case}.{layer}"] for layer in range(config["depth"])]

    def of(self, layer, level, growth):
        wanted = (self.config["level"], self.config["growth"]) == (level, growth)
        return self.layers[layer] if wanted and layer < len(self.layers) else None

    def front(self, x):
        return [self.layers[0]] if self.config["level"] == "input" else []

    def overwrite(self, layer):
        return self.of(layer, "input", "replace")

    def prepend(self, layer):
        return self.of(layer, "input", "accumulate")

    def pairs(self, layer):
        rows = self.of(layer, "attention", "replace")
        return None if rows is None else (rows[: len(rows) // 2], rows[len(rows) // 2 :])


def prompts(kind, config, case, tower):
    # A tower that does not run in a case needs no prompts: its half of the features is zero.
    if config["method"] == "none" or case == f"{tower}_missing":
        return Prompts()
    return (Maple if config["method"] == "maple" else MissingAware)(kind, config, case, tower)


# --- inputs and outputs --------------------------------------------------------------------------------------------
posts = weights.posts([3, 0, 6])
out = {}
for kind, config in KINDS.items():
    for case in CASES:
        found = clip.outputs(posts, case, lambda tower: prompts(kind, config, case, tower))
        out |= {f"{kind}.{name}": value for name, value in found.items()}
save_file(weights.single | posts | out, HERE / "prompts.safetensors")
models = {
    kind: {"clip": CLIP, "prompt": config, "task": "multi_class", "classes": [f"class {k}" for k in range(CLASSES)]}
    for kind, config in KINDS.items()
}
(HERE / "prompts.json").write_text(json.dumps(models, indent=1) + "\n")
print({name: float(np.abs(value).max()) for name, value in out.items()})
