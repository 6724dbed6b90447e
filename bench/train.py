"""Times training steps in PyTorch: the peer of trainer/examples/step.rs, which writes its weights and posts.

Usage: train.py FOLDER OUT --head HEAD --batch N --missing SHARE --first K --steps N --warm-up N --threads N
                [--device cpu|cuda] [--precision f32|tf32|bf16|f16]

CLIP ViT-B/16 with Deep Correlated Prompting and either head, written from docs/method.md. It runs as the published code
runs: frozen weights have requires_grad off, a missing image is a picture of ones and a missing text an empty one, both
towers run on all posts, texts are padded to the whole context, and features of what is missing are multiplied by zero.
Attention is PyTorch's fused one. Prints losses and seconds of each step as JSON; OUT gets the first step's gradients.
Needs torch, numpy and safetensors.
"""

import argparse
import json
import math
import resource
import time

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

CASES = ["complete", "text_missing", "image_missing"]
RATE, DECAY = 1e-4, 0.02


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--head", choices=["linear", "dpl"], required=True)
    parser.add_argument("--missing", required=True)
    for name in ["batch", "first", "steps", "warm-up", "threads"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="f32")
    return parser.parse_args()


class Tower:
    """One tower: pre-norm blocks with prompts in front."""

    def __init__(self, weights, name, heads, causal):
        self.heads, self.causal, self.blocks = heads, causal, []
        at = lambda part: weights[f"{name}.encoder.layers.{part}"]
        for i in range(12):
            pack = lambda kind: torch.cat([at(f"{i}.self_attn.{p}_proj.{kind}") for p in "qkv"])
            pair = lambda part: (at(f"{i}.{part}.weight"), at(f"{i}.{part}.bias"))
            self.blocks.append(
                {
                    "norm1": pair("layer_norm1"),
                    "qkv": (pack("weight"), pack("bias")),
                    "out": pair("self_attn.out_proj"),
                    "norm2": pair("layer_norm2"),
                    "up": pair("mlp.fc1"),
                    "down": pair("mlp.fc2"),
                }
            )

    def __call__(self, x, prompts):
        """Block-0 inputs [B, T, d] to the T tokens after the last block; prompts[l] [B, n, d] overwrite at block l > 0."""
        tokens, width = x.shape[1:]
        x = torch.cat([*prompts[0], x], 1)
        batch, length, _ = x.shape
        for i, block in enumerate(self.blocks):
            if 0 < i < len(prompts):
                x = torch.cat([prompts[i], x[:, prompts[i].shape[1] :]], 1)
            y = F.linear(F.layer_norm(x, (width,), *block["norm1"]), *block["qkv"])
            q, k, v = y.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            x = x + F.linear(y.transpose(1, 2).reshape(batch, length, width), *block["out"])
            y = F.linear(F.layer_norm(x, (width,), *block["norm2"]), *block["up"])
            x = x + F.linear(y * torch.sigmoid(1.702 * y), *block["down"])
        return x[:, -tokens:]


class Classifier:
    """Both towers, prompts and head."""

    def __init__(self, clip, own, head):
        self.w, self.head, self.depth = {**clip, **own}, head, 6
        self.image, self.text = Tower(clip, "vision_model", 12, False), Tower(clip, "text_model", 8, True)

    def affine(self, x, name):
        return F.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def bottleneck(self, x, name):
        return self.affine(F.gelu(self.affine(x, f"{name}.down")), f"{name}.up")

    def rows(self, case):
        """Correlated rows by layer, and common rows, of both towers."""
        state = lambda side: "missing" if case == f"{side}_missing" else "complete"
        pair = {side: self.w[f"prompt.initial.{side}.{state(side)}"] for side in ["image", "text"]}
        layers = []
        for layer in range(self.depth):
            both = torch.cat([pair["image"], pair["text"]], 1)
            at = {side: f"prompt.correlated.{layer}.{side}" for side in pair}
            pair = {side: self.bottleneck(self.norm(both, f"{at[side]}.norm"), at[side]) for side in pair}
            layers.append(pair)
        common = {s: self.bottleneck(self.w[f"prompt.common.{case}"], f"prompt.common_projection.{s}") for s in pair}
        return layers, common

    def prompts(self, x, side, rows, cases):
        """What enters a tower, post by post, for its block-0 input x."""
        of_case = lambda of: torch.stack([of(*rows[case]) if case in rows else of(*next(iter(rows.values()))) for case in CASES])[cases]
        at = f"prompt.dynamic.{side}"
        queries = torch.stack([self.w[f"{at}.queries.{case}"] for case in CASES])[cases]
        q, k, v = self.affine(queries, f"{at}.query"), self.affine(x, f"{at}.key"), self.affine(x, f"{at}.value")
        dynamic = self.affine(F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0], f"{at}.output")
        first = [of_case(lambda layers, _: layers[0][side]), of_case(lambda _, common: common[side]), dynamic]
        return [first] + [of_case(lambda layers, _, l=l: layers[l][side]) for l in range(1, self.depth)]

    def features(self, pixels, ids, eot, cases):
        w, present = self.w, [CASES[case] for case in sorted(set(cases.tolist()))]
        rows = {case: self.rows(case) for case in present}
        patches = F.conv2d(pixels, w["vision_model.embeddings.patch_embedding.weight"], stride=16).flatten(2).transpose(1, 2)
        first = w["vision_model.embeddings.class_embedding"].expand(len(patches), 1, -1)
        x = torch.cat([first, patches], 1) + w["vision_model.embeddings.position_embedding.weight"]
        x = self.norm(x, "vision_model.pre_layrnorm")
        x = self.image(x, self.prompts(x, "image", rows, cases))
        image = self.norm(x[:, 0], "vision_model.post_layernorm") @ w["visual_projection.weight"].t()
        x = w["text_model.embeddings.token_embedding.weight"][ids] + w["text_model.embeddings.position_embedding.weight"]
        x = self.text(x, self.prompts(x, "text", rows, cases))
        x = self.norm(x, "text_model.final_layer_norm")
        text = x[torch.arange(len(x), device=x.device), eot] @ w["text_projection.weight"].t()
        return image * (cases != 2)[:, None], text * (cases != 1)[:, None]

    def loss(self, pixels, ids, eot, cases, targets):
        image, text = self.features(pixels, ids, eot, cases)
        if self.head == "linear":
            return F.cross_entropy(self.affine(torch.cat([image, text], 1), "head").float(), targets)
        return self.prototypes(image.float(), text.float(), cases, targets)

    def prototypes(self, image, text, cases, targets):
        unit = {name: F.normalize(self.w[f"head.{name}"]) for name in ["complete_image", "complete_text", "image_only", "text_only"]}
        cosine = lambda x, name: F.normalize(x) @ unit[name].t()
        complete = (cosine(image, "complete_image") + cosine(text, "complete_text")) / 2
        scores = torch.stack([complete, cosine(image, "image_only"), cosine(text, "text_only")])
        z = scores[cases, torch.arange(len(cases), device=cases.device)]
        margin = 0.1
        near = z.clamp(-1 + 1e-7, 1 - 1e-7)
        phi = near * math.cos(margin) - ((1 - near) * (1 + near)).sqrt() * math.sin(margin)
        phi = torch.where(near > math.cos(math.pi - margin), phi, near - margin * math.sin(margin))
        true = F.one_hot(targets, z.shape[1]).bool()
        classification = F.cross_entropy(30 * torch.where(true, phi, z), targets)
        occurring = ["complete_image", "complete_text"] + ["image_only", "text_only"] * self.incomplete
        rows = torch.cat([unit[name] for name in occurring])
        classes = torch.arange(z.shape[1], device=rows.device).repeat(len(occurring))
        own = torch.eye(len(rows), device=rows.device, dtype=torch.bool)
        logs = F.log_softmax((rows @ rows.t()).masked_fill(own, -1e30), 1)
        pairs = (classes[:, None] == classes[None, :]) & ~own
        return classification - logs[pairs].mean()


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = options.precision != "f32"
    torch.backends.cudnn.allow_tf32 = options.precision != "f32"
    half = {"bf16": torch.bfloat16, "f16": torch.float16}.get(options.precision)
    clip = {name: x.to(device) for name, x in load_file(f"{options.folder}/clip.safetensors").items()}
    own = {name: x.to(device) for name, x in load_file(f"{options.folder}/{options.head}.safetensors").items()}
    trained = sorted(json.load(open(f"{options.folder}/{options.head}.json"))["trained"])
    own.update({name: clip[name] for name in trained if name not in own})
    for name in trained:
        own[name] = own[name].clone().requires_grad_()
    model = Classifier(clip, own, options.head)
    model.incomplete = options.missing != "0"
    posts = load_file(f"{options.folder}/posts-{options.missing}.safetensors")
    groups = [
        {"params": [own[name] for name in trained if ("bias" not in name) == decays], "weight_decay": DECAY * decays}
        for decays in [True, False]
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), eps=1e-8)
    scaler = torch.amp.GradScaler(device.type, enabled=half == torch.float16)

    def batch(step):
        count = len(posts["cases"])
        at = [(step * options.batch + i) % count for i in range(options.batch)]
        return [posts[name][at].to(device, non_blocking=True) for name in ["pixels", "ids", "eot", "cases", "targets"]]

    def finished():
        if device.type == "cuda":
            torch.cuda.synchronize()

    losses, seconds = [], []
    for step in range(options.warm_up + options.steps):
        inputs = batch(options.first + step)
        finished()
        begun = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            loss = model.loss(*inputs)
        scaler.scale(loss).backward()
        if step == 0:
            scaler.unscale_(optimiser)
            save_file({name: own[name].grad.cpu().clone() for name in trained if own[name].grad is not None}, options.out)
            begun = time.perf_counter()
        scaler.step(optimiser)
        scaler.update()
        losses.append(loss.item())
        finished()
        if step >= options.warm_up:
            seconds.append(time.perf_counter() - begun)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"losses": losses, "seconds": seconds, "peak_bytes": peak, "version": torch.__version__}))


main()
