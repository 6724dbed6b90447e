"""Golden outputs of Deep Correlated Prompting, re-implemented in plain numpy from docs/method.md, in double precision.

Writes dcp.safetensors (weights, inputs, expected outputs) and dcp.json (the model's configuration) beside itself:
    python tests/golden/make_dcp.py          # needs numpy and safetensors
Nothing here is shared with the Rust code: no tensor library, no attention or norm but the formulas below.
"""

import json
import math
import pathlib

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
CASES = ["complete", "text_missing", "image_missing"]
P, DEPTH, REDUCTION, CLASSES = 6, 2, 4, 5
N = P // 3
CONFIG = {
    "clip": {
        "model_type": "clip",
        "projection_dim": 20,
        "vision_config": {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
            "image_size": 16, "patch_size": 8, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        },
        "text_config": {
            "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 3,
            "vocab_size": 30, "max_position_embeddings": 10, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        },
    },
    "prompt": {"method": "dcp", "length": P, "depth": DEPTH, "reduction": REDUCTION, "train_queries": False},
    "task": "multi_class",
    "classes": [f"class {k}" for k in range(CLASSES)],
}
V, T, D = CONFIG["clip"]["vision_config"], CONFIG["clip"]["text_config"], CONFIG["clip"]["projection_dim"]
WIDTH = {"image": V["hidden_size"], "text": T["hidden_size"]}

random = np.random.default_rng(20250)
weights = {}


def put(name, *shape, std=0.25, mean=0.0):
    """A random tensor, rounded to the f32 that is written."""
    weights[name] = (mean + std * random.standard_normal(shape)).astype(np.float32)


def linear(name, inputs, outputs):
    put(f"{name}.weight", outputs, inputs)
    put(f"{name}.bias", outputs)


def norm(name, width):
    put(f"{name}.weight", width, std=0.2, mean=1.0)
    put(f"{name}.bias", width, std=0.2)


# --- weights, names as in docs/method.md and Hugging Face's CLIP -------------------------------------------------
put("vision_model.embeddings.class_embedding", V["hidden_size"], std=1.0)
put("vision_model.embeddings.patch_embedding.weight", V["hidden_size"], 3, V["patch_size"], V["patch_size"], std=0.1)
put("vision_model.embeddings.position_embedding.weight", 1 + (V["image_size"] // V["patch_size"]) ** 2, V["hidden_size"])
norm("vision_model.pre_layrnorm", V["hidden_size"])
norm("vision_model.post_layernorm", V["hidden_size"])
put("visual_projection.weight", D, V["hidden_size"])
put("text_model.embeddings.token_embedding.weight", T["vocab_size"], T["hidden_size"], std=1.0)
put("text_model.embeddings.position_embedding.weight", T["max_position_embeddings"], T["hidden_size"])
norm("text_model.final_layer_norm", T["hidden_size"])
put("text_projection.weight", D, T["hidden_size"])
for tower, c in [("vision_model", V), ("text_model", T)]:
    for i in range(c["num_hidden_layers"]):
        at = f"{tower}.encoder.layers.{i}"
        for part in ["q", "k", "v", "out"]:
            linear(f"{at}.self_attn.{part}_proj", c["hidden_size"], c["hidden_size"])
        norm(f"{at}.layer_norm1", c["hidden_size"])
        norm(f"{at}.layer_norm2", c["hidden_size"])
        linear(f"{at}.mlp.fc1", c["hidden_size"], c["intermediate_size"])
        linear(f"{at}.mlp.fc2", c["intermediate_size"], c["hidden_size"])
both = WIDTH["image"] + WIDTH["text"]
for case in CASES:
    put(f"prompt.common.{case}", N, WIDTH["text"], std=1.0)
for tower, d in WIDTH.items():
    for state in ["complete", "missing"]:
        put(f"prompt.initial.{tower}.{state}", N, d, std=1.0)
    for layer in range(DEPTH):
        norm(f"prompt.correlated.{layer}.{tower}.norm", both)
        linear(f"prompt.correlated.{layer}.{tower}.down", both, both // REDUCTION)
        linear(f"prompt.correlated.{layer}.{tower}.up", both // REDUCTION, d)
    linear(f"prompt.common_projection.{tower}.down", WIDTH["text"], WIDTH["text"] // REDUCTION)
    linear(f"prompt.common_projection.{tower}.up", WIDTH["text"] // REDUCTION, d)
    for part in ["query", "key", "value", "output"]:
        linear(f"prompt.dynamic.{tower}.{part}", d, d)
    for case in CASES:
        put(f"prompt.dynamic.{tower}.queries.{case}", N, d, std=1.0)
put("linear.head.weight", CLASSES, 2 * D)
put("linear.head.bias", CLASSES)
for name in ["complete_image", "complete_text", "image_only", "text_only"]:
    put(f"dpl.head.{name}", CLASSES, D)

W = {name: value.astype(np.float64) for name, value in weights.items()}


# --- the formulas --------------------------------------------------------------------------------------------------
def layer_norm(x, name):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * W[f"{name}.weight"] + W[f"{name}.bias"]


def affine(x, name):
    return x @ W[f"{name}.weight"].T + W[f"{name}.bias"]


def quick_gelu(x):
    return x / (1 + np.exp(-1.702 * x))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def attend(q, k, v, heads, mask=None):
    """One post: q [n, d], k and v [t, d]."""
    size = q.shape[1] // heads
    out = np.zeros((q.shape[0], q.shape[1]))
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = q[:, part] @ k[:, part].T / math.sqrt(size)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        out[:, part] = softmax(scores) @ v[:, part]
    return out


def bottleneck(x, name):
    return affine(gelu(affine(x, f"{name}.down")), f"{name}.up")


def prompts(case):
    """Per tower: the correlated prompts of each layer and the common prompts."""
    pair = {
        "image": W["prompt.initial.image." + ("missing" if case == "image_missing" else "complete")],
        "text": W["prompt.initial.text." + ("missing" if case == "text_missing" else "complete")],
    }
    layers = []
    for layer in range(DEPTH):
        z = np.concatenate([pair["image"], pair["text"]], axis=1)
        pair = {
            tower: bottleneck(layer_norm(z, f"prompt.correlated.{layer}.{tower}.norm"), f"prompt.correlated.{layer}.{tower}")
            for tower in WIDTH
        }
        layers.append(pair)
    common = {
        tower: bottleneck(W[f"prompt.common.{case}"], f"prompt.common_projection.{tower}") for tower in WIDTH
    }
    return layers, common


def run(tower, model, config, x, case, causal):
    """One post's block-0 input x [t, d] through the tower with prompts; the tokens after the prompts."""
    layers, common = prompts(case)
    at = f"prompt.dynamic.{tower}"
    queries = affine(W[f"{at}.queries.{case}"], f"{at}.query")
    dynamic = affine(attend(queries, affine(x, f"{at}.key"), affine(x, f"{at}.value"), 1), f"{at}.output")
    x = np.concatenate([layers[0][tower], common[tower], dynamic, x])
    mask = np.tril(np.ones((len(x), len(x)), bool)) if causal else None
    for i in range(config["num_hidden_layers"]):
        if 0 < i < DEPTH:
            x = np.concatenate([layers[i][tower], x[N:]])
        name = f"{model}.encoder.layers.{i}"
        y = layer_norm(x, f"{name}.layer_norm1")
        q, k, v = (affine(y, f"{name}.self_attn.{part}_proj") for part in "qkv")
        x = x + affine(attend(q, k, v, config["num_attention_heads"], mask), f"{name}.self_attn.out_proj")
        y = affine(layer_norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        x = x + affine(quick_gelu(y), f"{name}.mlp.fc2")
    return x[P:]


def image_features(pixels, case):
    p, side = V["patch_size"], V["image_size"] // V["patch_size"]
    kernel = W["vision_model.embeddings.patch_embedding.weight"].reshape(V["hidden_size"], -1)
    patches = [pixels[:, r * p : r * p + p, c * p : c * p + p].reshape(-1) for r in range(side) for c in range(side)]
    tokens = np.stack([W["vision_model.embeddings.class_embedding"]] + [kernel @ patch for patch in patches])
    x = layer_norm(tokens + W["vision_model.embeddings.position_embedding.weight"], "vision_model.pre_layrnorm")
    x = run("image", "vision_model", V, x, case, causal=False)
    return layer_norm(x[0], "vision_model.post_layernorm") @ W["visual_projection.weight"].T


def text_features(ids, eot, case):
    x = W["text_model.embeddings.token_embedding.weight"][ids] + W["text_model.embeddings.position_embedding.weight"]
    x = run("text", "text_model", T, x, case, causal=True)
    return layer_norm(x[eot], "text_model.final_layer_norm") @ W["text_projection.weight"].T


def cosine(x, prototypes):
    length = np.linalg.norm(x, axis=-1, keepdims=True) * np.linalg.norm(prototypes, axis=-1)
    return x @ prototypes.T / length


# --- inputs and outputs --------------------------------------------------------------------------------------------
POSTS = 3
pixels = random.standard_normal((POSTS, 3, V["image_size"], V["image_size"])).astype(np.float32)
ids = np.zeros((POSTS, T["max_position_embeddings"]), np.uint32)
eot = np.zeros(POSTS, np.uint32)
for post, words in enumerate([0, 4, 8]):
    ids[post, : words + 2] = [28, *random.integers(1, 28, words), 29]
    eot[post] = words + 1

out = {}
for case in CASES:
    image = np.stack([image_features(x.astype(np.float64), case) for x in pixels])
    text = np.stack([text_features(i, e, case) for i, e in zip(ids, eot)])
    has_image, has_text = case != "image_missing", case != "text_missing"
    halves = np.concatenate([image * has_image, text * has_text], axis=1)
    out[f"expected.{case}.linear"] = halves @ W["linear.head.weight"].T + W["linear.head.bias"]
    if has_image:
        out[f"expected.{case}.image"] = image
    if has_text:
        out[f"expected.{case}.text"] = text
    out[f"expected.{case}.dpl"] = {
        "complete": lambda: (cosine(image, W["dpl.head.complete_image"]) + cosine(text, W["dpl.head.complete_text"])) / 2,
        "text_missing": lambda: cosine(image, W["dpl.head.image_only"]),
        "image_missing": lambda: cosine(text, W["dpl.head.text_only"]),
    }[case]()

save_file(
    weights
    | {"input.pixels": pixels, "input.ids": ids, "input.eot": eot}
    | {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()},
    HERE / "dcp.safetensors",
)
(HERE / "dcp.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
print({name: float(np.abs(value).max()) for name, value in out.items()})
