"""Golden outputs of Deep Correlated Prompting, re-implemented in plain numpy from docs/method.md, in double precision.

Writes dcp.safetensors (weights, inputs, expected outputs) and dcp.json (the model's configuration) beside itself:
    python tests/golden/make_dcp.py          # needs numpy and safetensors
Nothing here is shared with the Rust code: no tensor library, no attention or norm but the formulas here and in
reference.py.
"""

import json
import pathlib

import numpy as np
from reference import CASES, CLIP, WIDTH, Clip, Prompts, Weights, attend, gelu
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
P, DEPTH, REDUCTION, CLASSES = 6, 2, 4, 5
N = P // 3
CONFIG = {
    "clip": CLIP,
    "prompt": {"method": "dcp", "length": P, "depth": DEPTH, "reduction": REDUCTION, "train_queries": False},
    "task": "multi_class",
    "classes": [f"class {k}" for k in range(CLASSES)],
}

# --- weights, names as in docs/method.md and Hugging Face's CLIP -------------------------------------------------
weights = Weights(20250)
weights.clip()
both = WIDTH["image"] + WIDTH["text"]
for case in CASES:
    weights.put(f"prompt.common.{case}", N, WIDTH["text"], std=1.0)
for tower, d in WIDTH.items():
    for state in ["complete", "missing"]:
        weights.put(f"prompt.initial.{tower}.{state}", N, d, std=1.0)
    for layer in range(DEPTH):
        weights.norm(f"prompt.correlated.{layer}.{tower}.norm", both)
        weights.linear(f"prompt.correlated.{layer}.{tower}.down", both, both // REDUCTION)
        weights.linear(f"prompt.correlated.{layer}.{tower}.up", both // REDUCTION, d)
    weights.linear(f"prompt.common_projection.{tower}.down", WIDTH["text"], WIDTH["text"] // REDUCTION)
    weights.linear(f"prompt.common_projection.{tower}.up", WIDTH["text"] // REDUCTION, d)
    for part in ["query", "key", "value", "output"]:
        weights.linear(f"prompt.dynamic.{tower}.{part}", d, d)
    for case in CASES:
        weights.put(f"prompt.dynamic.{tower}.queries.{case}", N, d, std=1.0)
weights.heads(CLASSES)

W = weights.double()
clip = Clip(W)


# --- the formulas --------------------------------------------------------------------------------------------------
def bottleneck(x, name):
    return clip.affine(gelu(clip.affine(x, f"{name}.down")), f"{name}.up")


def correlated(case):
    """The correlated prompts of each layer, by tower."""
    pair = {
        "image": W["prompt.initial.image." + ("missing" if case == "image_missing" else "complete")],
        "text": W["prompt.initial.text." + ("missing" if case == "text_missing" else "complete")],
    }
    layers = []
    for layer in range(DEPTH):
        z = np.concatenate([pair["image"], pair["text"]], axis=1)
        pair = {
            tower: bottleneck(
                clip.layer_norm(z, f"prompt.correlated.{layer}.{tower}.norm"), f"prompt.correlated.{layer}.{tower}"
            )
            for tower in WIDTH
        }
        layers.append(pair)
    return layers


class Dcp(Prompts):
    def __init__(self, case, tower):
        self.case, self.tower = case, tower
        self.layers = [pair[tower] for pair in correlated(case)]
        self.common = bottleneck(W[f"prompt.common.{case}"], f"prompt.common_projection.{tower}")

    def front(self, x):
        at = f"prompt.dynamic.{self.tower}"
        queries = clip.affine(W[f"{at}.queries.{self.case}"], f"{at}.query")
        seen = attend(queries, clip.affine(x, f"{at}.key"), clip.affine(x, f"{at}.value"), 1)
        return [self.layers[0], self.common, clip.affine(seen, f"{at}.output")]

    def overwrite(self, layer):
        return self.layers[layer] if layer < DEPTH else None


# --- inputs and outputs --------------------------------------------------------------------------------------------
posts = weights.posts([0, 4, 8])
out = {}
for case in CASES:
    out |= clip.outputs(posts, case, lambda tower: Dcp(case, tower))
save_file(weights.single | posts | out, HERE / "dcp.safetensors")
(HERE / "dcp.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
print({name: float(np.abs(value).max()) for name, value in out.items()})
