"""Golden scores, logits, contributions and losses of every head, in plain numpy from docs/method.md, in double precision.

Writes heads.safetensors (features, targets, weights, expected tensors) and heads.json (configurations and losses) beside
itself:
    python tests/golden/make_heads.py          # needs numpy and safetensors
Nothing here is shared with the Rust code: no tensor library, only the formulas below.
"""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
CASES = ["complete", "text_missing", "image_missing"]
SIDES = {"complete": ["image", "text"], "text_missing": ["image"], "image_missing": ["text"]}
D, K, POSTS = 7, 4, 6
SCALE = [6.0, 9.0, 12.0]
RESIDUAL = 0.6

random = np.random.default_rng(325)
tensors = {}


def put(name, *shape, std=1.0, mean=0.0):
    """A random tensor, rounded to the f32 that is written, in double precision."""
    tensors[name] = (mean + std * random.standard_normal(shape)).astype(np.float32)
    return tensors[name].astype(np.float64)


features = {"image": put("image", POSTS, D, std=2.0), "text": put("text", POSTS, D, std=0.7)}


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def halves(case):
    """concat(h_I, h_T) with the missing half zero."""
    return np.concatenate([features[s] * (s in SIDES[case]) for s in ["image", "text"]], axis=1)


# --- heads: each gives, for a case, the scores, the contributions, and the parts of the loss; logits from scores ------
class Linear:
    def __init__(self, name):
        self.w, self.b = put(f"{name}.head.weight", K, 2 * D), put(f"{name}.head.bias", K)

    def scores(self, case):
        return halves(case) @ self.w.T + self.b

    def logits(self, case, scores):
        return scores

    def contribution(self, case, side):
        half = slice(0, D) if side == "image" else slice(D, 2 * D)
        return features[side] @ self.w[:, half].T

    def parts(self, case):
        return [(1.0, self.scores(case), False)]

    def prototypes(self, cases):
        return None


class Dept:
    def __init__(self, name, mix):
        self.mix = mix
        self.w, self.b = put(f"{name}.head.base.weight", K, 2 * D), put(f"{name}.head.base.bias", K)
        self.gamma = put(f"{name}.head.adjust.weight", 2 * D, std=0.4, mean=1.0)
        self.beta = put(f"{name}.head.adjust.bias", 2 * D, std=0.4)
        self.v, self.c = put(f"{name}.head.transfer.weight", K, 2 * D), put(f"{name}.head.transfer.bias", K)

    def both(self, case):
        present = np.concatenate([np.full(D, float(s in SIDES[case])) for s in ["image", "text"]])
        f = halves(case)
        adjusted = (self.gamma * f + self.beta) * present
        return f @ self.w.T + self.b, adjusted @ self.v.T + self.c

    def scores(self, case):
        base, transfer = self.both(case)
        return (1 - self.mix) * base + self.mix * transfer

    def logits(self, case, scores):
        return scores

    def contribution(self, case, side):
        half = slice(0, D) if side == "image" else slice(D, 2 * D)
        x = features[side]
        return (1 - self.mix) * x @ self.w[:, half].T + self.mix * (self.gamma[half] * x) @ self.v[:, half].T

    def parts(self, case):
        base, transfer = self.both(case)
        return [(1 - self.mix, base, False), (self.mix, transfer, False)]

    def prototypes(self, cases):
        return None


SETS = {
    ("complete", "image"): "complete_image",
    ("complete", "text"): "complete_text",
    ("text_missing", "image"): "image_only",
    ("image_missing", "text"): "text_only",
}


class Prototypes:
    """What the heads of prototypes share."""

    def parts(self, case):
        return [(1.0, self.scores(case), True)]

    def logits(self, case, scores):
        return scores * SCALE[CASES.index(case)]


class Dpl(Prototypes):
    def __init__(self, name):
        self.w = {key: put(f"{name}.head.{value}", K, D) for key, value in SETS.items()}

    def contribution(self, case, side):
        return unit(features[side]) @ unit(self.w[case, side]).T

    def scores(self, case):
        return np.mean([self.contribution(case, side) for side in SIDES[case]], axis=0)

    def prototypes(self, cases):
        return np.concatenate([unit(w) for (case, _), w in self.w.items() if case in cases])


class Joint(Prototypes):
    def __init__(self, name):
        self.w = {case: put(f"{name}.head.joint.{case}", K, 2 * D) for case in CASES}

    def scores(self, case):
        return unit(halves(case)) @ unit(self.w[case]).T

    def contribution(self, case, side):
        only = unit(halves(case)).copy()
        only[:, slice(D, 2 * D) if side == "image" else slice(0, D)] = 0
        return only @ unit(self.w[case]).T

    def prototypes(self, cases):
        return np.concatenate([unit(self.w[case]) for case in CASES if case in cases])


class DplPlus(Prototypes):
    def __init__(self, name, learn_scale, bias, share, centre):
        self.learn_scale = learn_scale
        if share:
            base = {side: put(f"{name}.head.base.{side}", K, D) for side in features}
            own = {key: put(f"{name}.head.own.{value}", K, D, std=0.3) for key, value in SETS.items()}
            self.w = {(case, side): base[side] + RESIDUAL * own[case, side] for case, side in SETS}
        else:
            self.w = {key: put(f"{name}.head.{value}", K, D) for key, value in SETS.items()}
        if learn_scale:
            log = put(f"{name}.head.log_scale", 4, std=0.3)
            start = {key: SCALE[CASES.index(key[0])] / len(SIDES[key[0]]) for key in SETS}
            self.a = {key: start[key] * np.exp(log[i]) for i, key in enumerate(SETS)}
        self.b = {case: put(f"{name}.head.bias.{case}", K) if bias else 0.0 for case in CASES}
        self.c = {side: put(f"{name}.head.centre.{side}", D, std=0.5) if centre else 0.0 for side in features}

    def cosine(self, case, side):
        return unit(features[side] - self.c[side]) @ unit(self.w[case, side]).T

    def weight(self, case, side):
        return self.a[case, side] if self.learn_scale else SCALE[CASES.index(case)] / len(SIDES[case])

    def scores(self, case):
        total = sum(self.weight(case, side) for side in SIDES[case])
        return sum(self.weight(case, side) * self.cosine(case, side) for side in SIDES[case]) / total

    def logits(self, case, scores):
        return scores * sum(self.weight(case, side) for side in SIDES[case]) + self.b[case]

    def contribution(self, case, side):
        cosine = self.cosine(case, side)
        return self.a[case, side] * cosine if self.learn_scale else cosine

    def prototypes(self, cases):
        return np.concatenate([unit(w) for (case, _), w in self.w.items() if case in cases])


# --- losses --------------------------------------------------------------------------------------------------------
def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def phi(z, m, boundary):
    if m == 0:
        return z
    literal = np.cos(np.arccos(np.clip(z, -1, 1)) + m)
    return literal if boundary == "literal" else np.where(z > np.cos(np.pi - m), literal, z - m * np.sin(m))


def supervised_contrast(w, tau, reduction):
    classes = np.arange(len(w)) % K
    total, pairs = 0.0, 0
    for a in range(len(w)):
        others = [j for j in range(len(w)) if j != a]
        denominator = sum(np.exp(w[a] @ w[j] / tau) for j in others)
        for p in others:
            if classes[p] == classes[a]:
                total -= np.log(np.exp(w[a] @ w[p] / tau) / denominator)
                pairs += 1
    return total if reduction == "sum" else total / pairs


USUAL = {
    "margin": [0.1, 0.1, 0.1], "margin_schedule": "constant", "boundary": "fallback",
    "contrast": 1.0, "temperature": 1.0, "reduction": "mean_pairs", "prototypes": "active",
}
# (settings that differ from the usual ones, cases that occur in training, progress)
VARIANTS = {
    "usual": ({}, CASES, 0.5),
    "arcface_only": ({"contrast": 0.0}, CASES, 0.5),
    "margin_by_case": ({"margin": [0.2, 0.4, 0.6]}, CASES, 0.5),
    "margin_by_case_turned": ({"margin": [0.6, 0.2, 0.4]}, CASES, 0.5),
    "no_margin": ({"margin": [0.0, 0.0, 0.0]}, CASES, 0.5),
    # So large that angle + margin often exceeds pi.
    "large_margin": ({"margin": [1.6, 1.6, 1.6]}, CASES, 0.5),
    "literal": ({"margin": [1.6, 1.6, 1.6], "boundary": "literal"}, CASES, 0.5),
    "ramp": ({"margin": [0.4, 0.4, 0.4], "margin_schedule": "ramp"}, CASES, 0.2),
    "decay": ({"margin": [0.4, 0.4, 0.4], "margin_schedule": "decay"}, CASES, 0.2),
    "sum": ({"reduction": "sum", "contrast": 0.01}, CASES, 0.5),
    "temperature": ({"temperature": 0.3}, CASES, 0.5),
    "texts_missing": ({}, CASES[:2], 0.5),
    "images_missing": ({}, ["complete", "image_missing"], 0.5),
    "texts_missing_all": ({"prototypes": "all", "temperature": 0.5}, CASES[:2], 0.5),
}


def loss(head, task, settings, cases, progress, targets):
    """A batch with every post in each of the three cases."""
    total = 0.0
    share = {"constant": 1.0, "ramp": progress, "decay": 1 - progress}[settings["margin_schedule"]]
    for i, case in enumerate(CASES):
        for weight, x, is_cosine in head.parts(case):
            if is_cosine:
                m = settings["margin"][i] * share
                x = head.logits(case, np.where(targets == 1, phi(x, m, settings["boundary"]), x))
            if task == "multi_class":
                losses = -(log_softmax(x) * targets).sum(-1)
            else:
                each = np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * targets
                losses = each.sum(-1) if is_cosine else each.mean(-1)
            total += weight * losses.sum()
    classification = total / (3 * POSTS)
    prototypes = head.prototypes(CASES if settings["prototypes"] == "all" else cases)
    if prototypes is None or settings["contrast"] == 0:
        return classification, None
    contrast = supervised_contrast(prototypes, settings["temperature"], settings["reduction"])
    return classification + settings["contrast"] * contrast, contrast


# --- everything ----------------------------------------------------------------------------------------------------
one_of = np.eye(K)[np.arange(POSTS) % K]
any_of = (random.random((POSTS, K)) < 0.4).astype(np.float64)
any_of[0], any_of[1] = 0, 1
tensors["targets.multi_class"], tensors["targets.multi_label"] = one_of.astype(np.float32), any_of.astype(np.float32)

plus = {"method": "dpl_plus", "scale": SCALE, "learn_scale": True, "bias": True, "share": True, "residual": RESIDUAL, "centre": True}
HEADS = {
    "linear": ({"method": "linear"}, Linear),
    "dept": ({"method": "dept", "mix": 0.7}, lambda name: Dept(name, 0.7)),
    "dpl": ({"method": "dpl", "scale": SCALE}, Dpl),
    "dpl_joint": ({"method": "dpl", "scale": SCALE, "decomposed": False}, Joint),
    "dpl_plus": (plus, lambda name: DplPlus(name, True, True, True, True)),
}
for part in ["learn_scale", "bias", "share", "centre"]:
    only = {key: value if key in ["method", "scale", "residual"] else key == part for key, value in plus.items()}
    switches = [only[key] for key in ["learn_scale", "bias", "share", "centre"]]
    HEADS[f"dpl_plus_{part}"] = (only, lambda name, switches=switches: DplPlus(name, *switches))

heads = []
for name, (config, make) in HEADS.items():
    head = make(name)
    for case in CASES:
        scores = head.scores(case)
        tensors[f"expected.{name}.{case}.scores"] = scores.astype(np.float32)
        tensors[f"expected.{name}.{case}.logits"] = head.logits(case, scores).astype(np.float32)
        for side in SIDES[case]:
            tensors[f"expected.{name}.{case}.{side}"] = head.contribution(case, side).astype(np.float32)
    losses = []
    for task, targets in [("multi_class", one_of), ("multi_label", any_of)]:
        for variant, (changes, cases, progress) in VARIANTS.items():
            total, contrast = loss(head, task, USUAL | changes, cases, progress, targets)
            losses.append({
                "variant": variant, "task": task, "settings": changes, "cases": [CASES.index(case) for case in cases],
                "progress": progress, "total": total, "contrast": contrast,
            })
    heads.append({"name": name, "config": config, "losses": losses})
    print(name, {loss["variant"]: round(loss["total"], 4) for loss in losses if loss["task"] == "multi_label"})

save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, HERE / "heads.safetensors")
lines = []
for head in heads:
    losses = ",\n  ".join(json.dumps(loss) for loss in head.pop("losses"))
    lines.append(json.dumps(head)[:-1] + f', "losses": [\n  {losses}\n ]}}')
(HERE / "heads.json").write_text("[\n " + ",\n ".join(lines) + "\n]\n")
