#!/usr/bin/env python3
"""Writes metrics.json: what scikit-learn and scipy say about the cases that tests/metrics_golden.rs makes as well.

Only the expected values are stored. The cases come from SplitMix64 with the case's number as its seed, on both sides;
logits are halves or eighths, so that no rounding can differ.

    python3 make_metrics.py [FOLDER_OF_TORCHMETRICS_0_9_3]

* F1 macro follows torchmetrics 0.9.3, which the paper's code uses: classes absent in predictions and targets are dropped.
  Today's torchmetrics and scikit-learn's f1_score count them 0, so it is computed here from scikit-learn's counts by class.
  With a folder into which torchmetrics 0.9.3 was installed (pip install --no-deps --target FOLDER torchmetrics==0.9.3),
  every F1 is compared with the original's as well.
* AUROC and average precision are scikit-learn's by class, averaged over classes with posts of both kinds, and compared
  with today's torchmetrics.
* Paired tests are scipy's, with its defaults.

Needs numpy, scipy, scikit-learn, torch, torchmetrics.
"""

import importlib.metadata
import json
import math
import pathlib
import sys
import types
import warnings

import numpy as np
import scipy.stats
import sklearn.metrics
import torch
import torchmetrics

CASES = 1000
MASK = (1 << 64) - 1


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return (self.next() >> 33) % n


def posts(case, multi_label):
    """Logits [n, K] and targets [n, K] (0/1) of a case; the kinds of cases take turns."""
    rng = SplitMix64(case)
    kind = case % 9
    # Kind 4 has one post, kind 5 one class.
    n = 1 if kind == 4 else 1 + rng.below(40)
    classes = {5: 1, 7: 2}.get(kind, 1 + rng.below(9))
    logits = np.zeros((n, classes))
    targets = np.zeros((n, classes), dtype=int)
    for i in range(n):
        for k in range(classes):
            logits[i, k] = rng.below(64) / 8 - 4 if kind == 8 else rng.below(9) / 2 - 2
        if multi_label:
            for k in range(classes):
                targets[i, k] = rng.below(3) == 0
        else:
            targets[i, rng.below(classes)] = 1
        if kind == 1:  # the first class is absent in predictions and, where there is another, in targets
            logits[i, 0] = -8
            if classes > 1:
                if targets[i, 0] and not multi_label:
                    targets[i, 1] = 1
                targets[i, 0] = 0
        if kind == 2:  # no positives, or nothing but positives
            targets[i] = 0
            if not multi_label:
                targets[i, 0] = 1
        # Kinds 0, 7 and 8 have nothing special but that 7 has two classes and 8 few ties.
        if kind == 3:  # all tied
            logits[i] = 1
        if kind == 6:  # everything is predicted, or the last class of every post
            logits[i] += 5
            if not multi_label:
                logits[i, classes - 1] = 10
    return logits, targets


def padded(sets):
    """With one more class that never occurs: scikit-learn takes a single column for something else."""
    return np.pad(sets, ((0, 0), (0, 1)))


def counts(predicted, targets):
    """(TP, FP, FN) by class."""
    tables = sklearn.metrics.multilabel_confusion_matrix(padded(targets), padded(predicted))
    return [(int(t[1, 1]), int(t[0, 1]), int(t[1, 0])) for t in tables[:-1]]


def f1_macro(predicted, targets):
    """The rule of torchmetrics 0.9.3."""
    present = [2 * tp / (2 * tp + fp + fn) for tp, fp, fn in counts(predicted, targets) if tp + fp + fn > 0]
    return sum(present) / len(present) if present else 0.0


def f1(average, predicted, targets):
    return float(sklearn.metrics.f1_score(padded(targets), padded(predicted), average=average, zero_division=0))


def areas(scores, targets):
    """Mean AUROC and mean average precision over the classes with posts of both kinds."""
    roc, precision = [], []
    for k in range(targets.shape[1]):
        y, s = targets[:, k], scores[:, k]
        if 0 < y.sum() < len(y):
            roc.append(sklearn.metrics.roc_auc_score(y, s))
            precision.append(sklearn.metrics.average_precision_score(y, s))
            torch_s, torch_y = torch.tensor(s, dtype=torch.float64), torch.tensor(y)
            # Ranks instead of scores: torchmetrics takes scores outside [0, 1] for logits and squashes them.
            torch_s = torch.unique(torch_s, return_inverse=True)[1].double() / len(y)
            for ours, theirs in [
                (roc[-1], torchmetrics.functional.auroc(torch_s, torch_y, task="binary")),
                (precision[-1], torchmetrics.functional.average_precision(torch_s, torch_y, task="binary")),
            ]:
                assert abs(ours - float(theirs)) < 1e-6, (ours, theirs)
    return [float(np.mean(roc)), float(np.mean(precision))] if roc else [None, None]


def log_odds(logits):
    """ln(p / (1 - p)) of the softmax, with equal ones made equal; single precision keeps the others apart."""
    n, classes = logits.shape
    odds = np.full((n, classes), math.inf)
    for i in range(n):
        for k in range(classes):
            others = sorted(logits[i, j] - logits[i, k] for j in range(classes) if j != k)
            if others:
                odds[i, k] = -math.log(math.fsum(math.exp(other) for other in others))
    odds = np.round(odds, 9)
    for k in range(classes):
        different = np.unique(odds[:, k])
        assert len(np.unique(different.astype(np.float32))) == len(different)
    return odds


def tuned(logits, targets):
    """The best macro F1 over all thresholds."""
    return max(f1_macro((logits >= t).astype(int), targets) for t in np.unique(logits))


def multi_label(case, old):
    logits, targets = posts(case, True)
    predicted = (logits >= 0).astype(int)
    values = [f1_macro(predicted, targets)]
    values += [f1(average, predicted, targets) for average in ("micro", "weighted", "samples")]
    if old and targets.shape[1] > 1:
        for average, value in zip(("macro", "micro", "weighted", "samples"), values):
            probabilities = torch.sigmoid(torch.tensor(logits))
            found = old(probabilities, torch.tensor(targets), average=average, num_classes=targets.shape[1])
            if average == "weighted" and targets.sum() == 0:
                found = 0.0  # 0 / 0 there
            assert abs(float(found) - value) < 1e-6, (case, average, float(found), value)
    return values + areas(logits, targets) + [tuned(logits, targets)]


def multi_class(case, old):
    logits, targets = posts(case, False)
    n, classes = logits.shape
    order = np.argsort(-logits, axis=1, kind="stable")  # of equal logits the lower class first
    truth = targets.argmax(axis=1)
    predicted = np.eye(classes, dtype=int)[order[:, 0]]
    place = (order == truth[:, None]).argmax(axis=1)
    if classes > 2 and all(len(set(row)) == classes for row in logits):
        found = sklearn.metrics.top_k_accuracy_score(truth, logits, k=2, labels=range(classes))
        assert abs(found - (place < 2).mean()) < 1e-12
    accuracy = float(sklearn.metrics.accuracy_score(truth, order[:, 0]))
    top_five = float((place < 5).mean()) if classes > 5 else None
    values = [f1_macro(predicted, targets), f1("weighted", predicted, targets)]
    if old and classes > 2:
        for average, value in zip(("macro", "weighted"), values):
            found = old(torch.tensor(order[:, 0].copy()), torch.tensor(truth), average=average, num_classes=classes)
            assert abs(float(found) - value) < 1e-6, (case, average, float(found), value)
    return [accuracy, top_five] + values + areas(log_odds(logits), targets)


def pairs(case):
    """Two lists of figures; the kinds of cases take turns."""
    rng = SplitMix64(case)
    kind = case % 6
    n = 1 + rng.below(80)
    if kind == 1:  # few, with ties and zeros
        n = 1 + n % 13
    ours, theirs = np.zeros(n), np.zeros(n)
    for i in range(n):
        if kind in (0, 5):  # without ties
            ours[i], theirs[i] = rng.below(1 << 30) / (1 << 30), rng.below(1 << 30) / (1 << 30)
            ours[i] += 0.25 if kind == 5 else 0
        elif kind in (1, 2):  # with ties and zeros
            ours[i], theirs[i] = rng.below(12) / 64, rng.below(9) / 64
        elif kind == 3:  # the same difference everywhere; none in some cases
            theirs[i] = rng.below(64) / 64
            ours[i] = theirs[i] + case % 4 / 8
        else:  # one wins always
            theirs[i] = rng.below(1 << 20) / (1 << 20)
            ours[i] = theirs[i] - (1 + rng.below(1 << 20)) / (1 << 20)
    return ours, theirs


def paired(case):
    ours, theirs = pairs(case)
    d = ours - theirs
    t_test = None if len(d) < 2 or np.ptp(d) == 0 else float(scipy.stats.ttest_rel(ours, theirs).pvalue)
    wilcoxon = None if not d.any() else float(scipy.stats.wilcoxon(ours, theirs).pvalue)
    sd = float(d.std(ddof=1)) if len(d) > 1 else 0.0
    return [float(d.mean()), sd, int((d > 0).sum()), int((d == 0).sum()), int((d < 0).sum()), t_test, wilcoxon]


def original(folder):
    """f1_score of torchmetrics 0.9.3, beside today's."""
    today = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "torchmetrics"}
    # What it asks setuptools for, which setuptools no longer has.
    stand_in = types.ModuleType("pkg_resources")
    stand_in.DistributionNotFound = importlib.metadata.PackageNotFoundError
    stand_in.get_distribution = lambda name: types.SimpleNamespace(version=importlib.metadata.version(name))
    sys.modules["pkg_resources"] = stand_in
    sys.path.insert(0, folder)
    import torchmetrics as old

    assert old.__version__ == "0.9.3", old.__version__
    f1_score = old.functional.f1_score
    sys.path.pop(0)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
        del sys.modules[name]
    sys.modules.update(today)
    return f1_score


def short(value):
    return round(value, 12) if isinstance(value, float) else value


def main():
    warnings.filterwarnings("ignore")
    old = original(sys.argv[1]) if len(sys.argv) > 1 else None
    golden = {
        "multi_label": [[short(v) for v in multi_label(case, old)] for case in range(CASES)],
        "multi_class": [[short(v) for v in multi_class(case, old)] for case in range(CASES)],
        "paired": [[short(v) for v in paired(case)] for case in range(CASES)],
    }
    path = pathlib.Path(__file__).with_name("metrics.json")
    lines = [f'"{name}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for name, rows in golden.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path.name}: {path.stat().st_size} bytes; F1 compared with torchmetrics 0.9.3: {'yes' if old else 'no'}")


if __name__ == "__main__":
    main()
