"""Simple baselines of the demo task, so that a model's accuracy means something.

    pip install numpy pillow scikit-image scikit-learn
    python bench/emoji_baselines.py data/emoji

Picture: HOG and a colour grid, logistic regression. Text: words and their pieces (TF-IDF), logistic regression.
The strength of the regularisation is chosen on the validation split; test is looked at once.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.sparse import csr_matrix, hstack
from skimage.feature import hog
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def picture_features(path):
    image = Image.open(path).convert("RGB")
    grey = np.asarray(image.resize((48, 48), Image.BICUBIC).convert("L"), dtype=np.float32) / 255
    shape = hog(grey, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    colour = np.asarray(image.resize((6, 6), Image.BOX), dtype=np.float32).ravel() / 255
    return np.concatenate([shape, colour])


def fit(features, labels, splits):
    train, val, test = (splits == name for name in ("train", "val", "test"))
    best = None
    for strength in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
        model = LogisticRegression(C=strength, max_iter=300).fit(features[train], labels[train])
        score = model.score(features[val], labels[val])
        if best is None or score > best[0]:
            best = (score, strength, model)
    score, strength, model = best
    return 100 * score, 100 * model.score(features[test], labels[test]), strength


def main(folder):
    posts = [json.loads(line) for line in open(folder / "data.jsonl", encoding="utf-8")]
    labels = np.array([post["labels"][0] for post in posts])
    splits = np.array([post["split"] for post in posts])
    train = splits == "train"
    pictures = np.stack([picture_features(folder / post["image"]) for post in posts])
    pictures = StandardScaler().fit(pictures[train]).transform(pictures)
    texts = [post["text"] for post in posts]
    words = TfidfVectorizer(sublinear_tf=True).fit([t for t, s in zip(texts, train) if s])
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit([t for t, s in zip(texts, train) if s])
    texts = csr_matrix(hstack([words.transform(texts), pieces.transform(texts)]))

    print(f"{len(posts)} posts, {len(set(labels))} groups; accuracy in %, val / test (strength chosen on val)")
    names, counts = np.unique(labels[train], return_counts=True)
    majority = names[counts.argmax()]
    print(f"majority {100 * (labels[splits == 'val'] == majority).mean():.1f} / "
          f"{100 * (labels[splits == 'test'] == majority).mean():.1f}")
    print("picture: HOG and colour  {:.1f} / {:.1f} (C = {})".format(*fit(pictures, labels, splits)))
    print("text: words and pieces   {:.1f} / {:.1f} (C = {})".format(*fit(texts, labels, splits)))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/emoji"))
