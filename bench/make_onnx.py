"""Writes the ONNX graphs that Lacuna is measured against, from the same weights.

    pip install numpy onnx onnxruntime safetensors
    python bench/make_onnx.py SOURCE OUT [--words 8]

SOURCE is a Hugging Face CLIP folder, or a bundle in f32, of which the prompts of the complete case are in the graphs.
Writes image.onnx, text.onnx, and text.cut.onnx for texts of --words tokens, frame included: it embeds the padding, which
dynamic prompts look at, and drops it before the blocks, as Lacuna does. Each also as .u8.onnx and .s8.onnx by ONNX
Runtime's dynamic quantisation, as transformers.js serves models: weights without or with a sign. ONNX Runtime has no
convolution of signed bytes, so there the first layer stays f32.

Inputs: pixels [1, 3, S, S]; ids [1, context] (int64), end [1] (int64). Output: features [1, D]. The nodes are those
that an exporter writes (opset 17): LayerNormalization, MatMul, Add, Softmax, Sigmoid. How to run them best is ONNX
Runtime's affair.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file


# What a Hugging Face config.json leaves out is this.
DEFAULTS = {
    "vision_config": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                      "image_size": 224, "patch_size": 32, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"},
    "text_config": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
                    "max_position_embeddings": 77, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"},
}


def read_config(folder):
    """The sizes of both towers."""
    if (folder / "manifest.json").exists():
        manifest = json.loads((folder / "manifest.json").read_text())
        if manifest["dtype"] != "f32":
            raise SystemExit(f"{folder} holds weights as {manifest['dtype']}; give a bundle in f32")
        clip = manifest["config"]["clip"]
    else:
        clip = json.loads((folder / "config.json").read_text())
    clip = {tower: defaults | clip.get(tower, {}) for tower, defaults in DEFAULTS.items()}
    for tower, config in clip.items():
        if config["hidden_act"] != "quick_gelu":
            raise SystemExit(f"{tower} has the activation {config['hidden_act']}; only quick_gelu is written here")
    return clip


def read_tensors(folder):
    """Tensors by name, pieces joined."""
    pieces = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, value in load_file(file).items():
            whole, _, start = name.partition("@")
            pieces.setdefault(whole, {})[int(start or 0)] = value.astype(np.float32)
    return {name: np.concatenate([parts[k] for k in sorted(parts)]) if len(parts) > 1 else next(iter(parts.values()))
            for name, parts in pieces.items()}


class Graph:
    """Collects nodes and weights."""

    def __init__(self):
        self.nodes, self.weights, self.count = [], [], 0

    def const(self, value, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.weights.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        out = f"{kind}{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        return out

    def linear(self, x, weight, bias=None):
        y = self.op("MatMul", x, self.const(weight.T))
        return y if bias is None else self.op("Add", y, self.const(bias))

    def norm(self, x, weight, bias, eps):
        return self.op("LayerNormalization", x, self.const(weight), self.const(bias), axis=-1, epsilon=eps)

    def shape(self, x, *sizes):
        return self.op("Reshape", x, self.const(np.array(sizes, dtype=np.int64)))

    def slice(self, x, start, end):
        """Tokens from `start` to `end`."""
        return self.op("Slice", x, *[self.const(np.array([value], dtype=np.int64)) for value in (start, end, 1)])


def encoder(graph, tensors, prompts, x, config, prefix, causal_tokens):
    """Blocks with prompts on their way; of a causal tower only the first tokens. `prompts` maps names below
    `prompt.complete.{tower}.`."""
    width, heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    head = width // heads
    added = 0
    front = []
    if "rows" in prompts:
        front.append(graph.const(prompts["rows"][None]))
        added += len(prompts["rows"])
    if "queries" in prompts:
        front.append(dynamic(graph, tensors, prompts, x, width))
        added += len(prompts["queries"])
    if front:
        x = graph.op("Concat", *front, x, axis=1)
    if causal_tokens and causal_tokens < config["max_position_embeddings"]:
        x = graph.slice(x, 0, causal_tokens + added)
    for layer in range(config["num_hidden_layers"]):
        renewed = prompts.get(f"renewed.{layer}")
        if renewed is not None:
            x = graph.op("Concat", graph.const(renewed[None]), graph.slice(x, len(renewed), 1 << 30), axis=1)
        at = f"{prefix}.encoder.layers.{layer}"
        weight = lambda name: tensors[f"{at}.{name}.weight"]
        bias = lambda name: tensors[f"{at}.{name}.bias"]
        y = graph.norm(x, weight("layer_norm1"), bias("layer_norm1"), eps)
        parts = []
        for name, axes in (("q", (0, 2, 1, 3)), ("k", (0, 2, 3, 1)), ("v", (0, 2, 1, 3))):
            part = graph.linear(y, weight(f"self_attn.{name}_proj"), bias(f"self_attn.{name}_proj"))
            parts.append(graph.op("Transpose", graph.shape(part, 1, -1, heads, head), perm=axes))
        scaled = graph.op("Mul", parts[0], graph.const(np.float32(head**-0.5)))
        scores = graph.op("MatMul", scaled, parts[1])
        if causal_tokens:
            scores = graph.op("Add", scores, mask(graph, causal_tokens + added))
        answers = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), parts[2])
        answers = graph.shape(graph.op("Transpose", answers, perm=(0, 2, 1, 3)), 1, -1, width)
        x = graph.op("Add", x, graph.linear(answers, weight("self_attn.out_proj"), bias("self_attn.out_proj")))
        y = graph.norm(x, weight("layer_norm2"), bias("layer_norm2"), eps)
        y = graph.linear(y, weight("mlp.fc1"), bias("mlp.fc1"))
        y = graph.op("Mul", y, graph.op("Sigmoid", graph.op("Mul", y, graph.const(np.float32(1.702)))))
        x = graph.op("Add", x, graph.linear(y, weight("mlp.fc2"), bias("mlp.fc2")))
    return x, added


def mask(graph, tokens):
    name = f"mask{tokens}"
    if all(weight.name != name for weight in graph.weights):
        graph.const(np.triu(np.full((tokens, tokens), -3e38, dtype=np.float32), 1), name)
    return name


def dynamic(graph, tensors, prompts, x, width):
    """Rows that look at the tokens, padding included: one head, keys and values without biases."""
    at = f"prompt.dynamic.{prompts['tower']}"
    keys = graph.linear(x, tensors[f"{at}.key.weight"])
    values = graph.linear(x, tensors[f"{at}.value.weight"])
    queries = graph.const(prompts["queries"][None] * np.float32(width**-0.5))
    scores = graph.op("MatMul", queries, graph.op("Transpose", keys, perm=(0, 2, 1)))
    rows = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), values)
    return graph.linear(rows, tensors[f"{at}.output.weight"], tensors[f"{at}.output.bias"])


def finish(graph, tensors, pooled, norm, projection, eps, inputs, path):
    y = graph.norm(pooled, tensors[f"{norm}.weight"], tensors[f"{norm}.bias"], eps)
    y = graph.linear(y, tensors[f"{projection}.weight"])
    graph.nodes[-1].output[0] = "features"
    width = len(tensors[f"{projection}.weight"])
    outputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, width])]
    made = helper.make_graph(graph.nodes, path.stem, inputs, outputs, graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    quantize_dynamic(path, path.with_suffix(".u8.onnx"), weight_type=QuantType.QUInt8)
    quantize_dynamic(path, path.with_suffix(".s8.onnx"), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gather"])


def image(tensors, prompts, clip, out):
    config = clip["vision_config"]
    side, patch, width = config["image_size"], config["patch_size"], config["hidden_size"]
    eps = config["layer_norm_eps"]
    graph, at = Graph(), "vision_model.embeddings"
    kernel = tensors[f"{at}.patch_embedding.weight"].reshape(width, 3, patch, patch)
    x = graph.op("Conv", "pixels", graph.const(kernel), strides=[patch, patch], kernel_shape=[patch, patch])
    x = graph.op("Transpose", graph.shape(x, 1, width, -1), perm=(0, 2, 1))
    x = graph.op("Concat", graph.const(tensors[f"{at}.class_embedding"].reshape(1, 1, width)), x, axis=1)
    x = graph.op("Add", x, graph.const(tensors[f"{at}.position_embedding.weight"]))
    x = graph.norm(x, tensors["vision_model.pre_layrnorm.weight"], tensors["vision_model.pre_layrnorm.bias"], eps)
    x, added = encoder(graph, tensors, prompts, x, config, "vision_model", 0)
    pooled = graph.op("Gather", x, graph.const(np.array(added, dtype=np.int64)), axis=1)
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, side, side])]
    finish(graph, tensors, pooled, "vision_model.post_layernorm", "visual_projection", eps, inputs, out / "image.onnx")


def text(tensors, prompts, clip, out, used, name):
    """A graph whose blocks run over the prompts and the first `used` tokens."""
    config = clip["text_config"]
    context, eps = config["max_position_embeddings"], config["layer_norm_eps"]
    graph, at = Graph(), "text_model.embeddings"
    x = graph.op("Gather", graph.const(tensors[f"{at}.token_embedding.weight"]), "ids", axis=0)
    x = graph.op("Add", x, graph.const(tensors[f"{at}.position_embedding.weight"]))
    x, added = encoder(graph, tensors, prompts, x, config, "text_model", used)
    place = graph.op("Add", "end", graph.const(np.array([added], dtype=np.int64)))
    pooled = graph.op("Squeeze", graph.op("Gather", x, place, axis=1), graph.const(np.array([1], dtype=np.int64)))
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, context]),
              helper.make_tensor_value_info("end", TensorProto.INT64, [1])]
    finish(graph, tensors, pooled, "text_model.final_layer_norm", "text_projection", eps, inputs, out / name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--words", type=int, default=8)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    clip, tensors = read_config(options.source), read_tensors(options.source)
    prompts = {}
    for tower in ("image", "text"):
        start = f"prompt.complete.{tower}."
        prompts[tower] = {name[len(start):]: value for name, value in tensors.items() if name.startswith(start)}
        unknown = [name for name in prompts[tower] if name.split(".")[0] not in ("rows", "renewed", "queries")]
        if unknown:
            raise SystemExit(f"{options.source} has prompts that are not written here: {', '.join(unknown)}")
        prompts[tower]["tower"] = tower
    image(tensors, prompts["image"], clip, options.out)
    text(tensors, prompts["text"], clip, options.out, clip["text_config"]["max_position_embeddings"], "text.onnx")
    text(tensors, prompts["text"], clip, options.out, options.words, "text.cut.onnx")
    # Written last: who finds it knows that all graphs are there.
    made = {"words": options.words, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    (options.out / "made.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
