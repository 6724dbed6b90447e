"""What the golden files of prompts share: CLIP with slots for prompts, and the heads, in plain numpy, double precision.

Written from docs/method.md and Hugging Face's tensor names; nothing here is shared with the Rust code.
"""

import math

import numpy as np

CASES = ["complete", "text_missing", "image_missing"]
CLIP = {
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
}
V, T, D = CLIP["vision_config"], CLIP["text_config"], CLIP["projection_dim"]
WIDTH = {"image": V["hidden_size"], "text": T["hidden_size"]}


# --- random weights ------------------------------------------------------------------------------------------------
class Weights:
    """Random tensors by name, in the order in which they are asked for, rounded to the f32 that is written."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.single = {}

    def put(self, name, *shape, std=0.25, mean=0.0):
        self.single[name] = (mean + std * self.random.standard_normal(shape)).astype(np.float32)

    def linear(self, name, inputs, outputs):
        self.put(f"{name}.weight", outputs, inputs)
        self.put(f"{name}.bias", outputs)

    def norm(self, name, width):
        self.put(f"{name}.weight", width, std=0.2, mean=1.0)
        self.put(f"{name}.bias", width, std=0.2)

    def clip(self):
        put, linear, norm = self.put, self.linear, self.norm
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

    def heads(self, classes):
        self.put("linear.head.weight", classes, 2 * D)
        self.put("linear.head.bias", classes)
        for name in ["complete_image", "complete_text", "image_only", "text_only"]:
            self.put(f"dpl.head.{name}", classes, D)

    def posts(self, count_of_words):
        """Pixels, token ids and the end tokens' places of as many posts as counts are given."""
        posts = len(count_of_words)
        pixels = self.random.standard_normal((posts, 3, V["image_size"], V["image_size"])).astype(np.float32)
        ids = np.zeros((posts, T["max_position_embeddings"]), np.uint32)
        eot = np.zeros(posts, np.uint32)
        for post, words in enumerate(count_of_words):
            ids[post, : words + 2] = [28, *self.random.integers(1, 28, words), 29]
            eot[post] = words + 1
        return {"input.pixels": pixels, "input.ids": ids, "input.eot": eot}

    def double(self):
        return {name: value.astype(np.float64) for name, value in self.single.items()}


# --- the formulas --------------------------------------------------------------------------------------------------
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


def cosine(x, prototypes):
    length = np.linalg.norm(x, axis=-1, keepdims=True) * np.linalg.norm(prototypes, axis=-1)
    return x @ prototypes.T / length


class Prompts:
    """What enters one tower for one post; the default is nothing."""

    def front(self, x):
        """Rows in front of block 0's input x [t, d], as a list of [n, d]."""
        return []

    def overwrite(self, layer):
        """Rows that overwrite the first ones at the input of block layer > 0, or None."""

    def prepend(self, layer):
        """Rows that are put in front of all others at the input of block layer > 0, or None."""

    def pairs(self, layer):
        """Rows in front of the projected keys and rows in front of the projected values of any block, or None."""


class Clip:
    """Both towers, one post at a time."""

    def __init__(self, weights):
        self.weights = weights

    def layer_norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def affine(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def run(self, model, config, x, prompts, causal):
        """One post's block-0 input x [t, d] through a tower; the t tokens after the prompts."""
        tokens = len(x)
        x = np.concatenate([*prompts.front(x), x])
        for i in range(config["num_hidden_layers"]):
            if i > 0 and (rows := prompts.overwrite(i)) is not None:
                x = np.concatenate([rows, x[len(rows) :]])
            if i > 0 and (rows := prompts.prepend(i)) is not None:
                x = np.concatenate([rows, x])
            name = f"{model}.encoder.layers.{i}"
            y = self.layer_norm(x, f"{name}.layer_norm1")
            q, k, v = (self.affine(y, f"{name}.self_attn.{part}_proj") for part in "qkv")
            mask = np.tril(np.ones((len(x), len(x)), bool)) if causal else None
            if (pairs := prompts.pairs(i)) is not None:
                k, v = np.concatenate([pairs[0], k]), np.concatenate([pairs[1], v])
                if causal:
                    mask = np.concatenate([np.ones((len(x), len(pairs[0])), bool), mask], axis=1)
            attended = attend(q, k, v, config["num_attention_heads"], mask)
            x = x + self.affine(attended, f"{name}.self_attn.out_proj")
            y = self.affine(self.layer_norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
            x = x + self.affine(quick_gelu(y), f"{name}.mlp.fc2")
        return x[len(x) - tokens :]

    def image_features(self, pixels, prompts):
        w, p, side = self.weights, V["patch_size"], V["image_size"] // V["patch_size"]
        kernel = w["vision_model.embeddings.patch_embedding.weight"].reshape(V["hidden_size"], -1)
        patches = [pixels[:, r * p : r * p + p, c * p : c * p + p].reshape(-1) for r in range(side) for c in range(side)]
        tokens = np.stack([w["vision_model.embeddings.class_embedding"]] + [kernel @ patch for patch in patches])
        x = self.layer_norm(tokens + w["vision_model.embeddings.position_embedding.weight"], "vision_model.pre_layrnorm")
        x = self.run("vision_model", V, x, prompts, causal=False)
        return self.layer_norm(x[0], "vision_model.post_layernorm") @ w["visual_projection.weight"].T

    def text_features(self, ids, eot, prompts):
        w = self.weights
        x = w["text_model.embeddings.token_embedding.weight"][ids] + w["text_model.embeddings.position_embedding.weight"]
        x = self.run("text_model", T, x, prompts, causal=True)
        return self.layer_norm(x[eot], "text_model.final_layer_norm") @ w["text_projection.weight"].T

    def outputs(self, posts, case, prompts):
        """Features and both heads' scores of all posts as posts of one case; prompts(tower) are the tower's."""
        w = self.weights
        image = np.stack([self.image_features(x.astype(np.float64), prompts("image")) for x in posts["input.pixels"]])
        text = np.stack([self.text_features(i, e, prompts("text")) for i, e in zip(posts["input.ids"], posts["input.eot"])])
        has_image, has_text = case != "image_missing", case != "text_missing"
        halves = np.concatenate([image * has_image, text * has_text], axis=1)
        out = {"linear": halves @ w["linear.head.weight"].T + w["linear.head.bias"]}
        if has_image:
            out["image"] = image
        if has_text:
            out["text"] = text
        if case == "complete":
            out["dpl"] = (cosine(image, w["dpl.head.complete_image"]) + cosine(text, w["dpl.head.complete_text"])) / 2
        elif has_image:
            out["dpl"] = cosine(image, w["dpl.head.image_only"])
        else:
            out["dpl"] = cosine(text, w["dpl.head.text_only"])
        return {f"expected.{case}.{name}": np.ascontiguousarray(value, np.float32) for name, value in out.items()}
