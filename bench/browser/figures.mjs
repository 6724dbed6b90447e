// Owns the arithmetic of the benchmark: spread, likeness of outputs, and how many operations a tower takes.

/** The value below which the part `q` of the values lies, between neighbours in proportion. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * q;
  const low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

export const median = (values) => quantile(values, 0.5);
export const round = (value, digits = 1) => Number(value.toFixed(digits));

/** Median and quartiles. */
export const spread = (values, digits = 1) => ({
  median: round(median(values), digits),
  quartiles: [round(quantile(values, 0.25), digits), round(quantile(values, 0.75), digits)],
});

/** The cosine of two vectors, and their largest difference as a part of the second one's largest value. */
export function likeness(a, b) {
  if (a.length !== b.length) throw new Error(`outputs of ${a.length} and ${b.length} values`);
  let [dot, aa, bb, worst, top] = [0, 0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    worst = Math.max(worst, Math.abs(a[i] - b[i]));
    top = Math.max(top, Math.abs(b[i]));
  }
  return { cosine: round(dot / Math.sqrt(aa * bb), 6), difference: Number((worst / top).toExponential(1)) };
}

/** Operations of a block in which `asking` of `tokens` tokens are computed: two for each multiplication and addition. */
function block({ hidden_size: d, intermediate_size: inner }, asking, tokens) {
  const keysAndValues = 2 * tokens * d * d;
  const queriesAndOutputs = 2 * asking * d * d;
  const attention = 2 * asking * tokens * d;
  const perceptron = 2 * asking * d * inner;
  return 2 * (keysAndValues + queriesAndOutputs + attention + perceptron);
}

/**
 * Operations of a tower over `tokens` tokens, prompts included.
 * `frugal` counts the last block for one token alone: nothing else of it is read, and our engine leaves the rest out.
 */
export function operationsOfTower(tower, tokens, joint, { frugal = false } = {}) {
  const last = block(tower, frugal ? 1 : tokens, tokens);
  let sum = (tower.num_hidden_layers - 1) * block(tower, tokens, tokens) + last + 2 * tower.hidden_size * joint;
  if (tower.patch_size) {
    const patches = (tower.image_size / tower.patch_size) ** 2;
    sum += 2 * patches * tower.hidden_size * 3 * tower.patch_size ** 2;
  }
  return sum;
}

/** Tokens of a tower: `front` prompts, and patches with the class token, or words. */
export function tokensOf(clip, tower, front, words) {
  const { image_size: side, patch_size: patch } = clip.vision_config;
  return front + (tower === "image" ? (side / patch) ** 2 + 1 : words);
}
