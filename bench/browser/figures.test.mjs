// The benchmark's arithmetic against figures worked out by hand: node --test bench/browser
import assert from "node:assert/strict";
import { test } from "node:test";

import { likeness, operationsOfTower, quantile, tokensOf } from "./figures.mjs";
import { KINDS, groups, variantFor } from "./variants.mjs";

const VISION = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, image_size: 224, patch_size: 16 };

test("the image tower of CLIP ViT-B/16 takes 35.1 billion operations", () => {
  const tokens = tokensOf({ vision_config: VISION }, "image", 0);
  assert.equal(tokens, 197);
  assert.equal((operationsOfTower(VISION, tokens, 512) / 1e9).toFixed(1), "35.1");
});

test("a last block for one token leaves out most of a twelfth", () => {
  const share = operationsOfTower(VISION, 197, 512, { frugal: true }) / operationsOfTower(VISION, 197, 512);
  assert.ok(share > 11 / 12 && share < 0.95, `${share}`);
});

test("quartiles lie between neighbours", () => {
  assert.equal(quantile([4, 1, 3, 2], 0.5), 2.5);
  assert.equal(quantile([1, 2, 3, 4, 5], 0.25), 2);
});

test("likeness knows direction and the worst value", () => {
  assert.deepEqual(likeness([1, 2], [1, 2]), { cosine: 1, difference: 0 });
  assert.deepEqual(likeness([1, 0], [0, 2]), { cosine: 0, difference: 1 });
  assert.throws(() => likeness([1], [1, 2]));
});

test("a filter leaves only the rows that hold it", () => {
  assert.deepEqual(groups([1], "image none int8 1").map(({ kinds }) => kinds), [[KINDS[0]]]);
  assert.equal(groups([1, 2], "").length, 8);
});

test("threads need the artefact that has them", () => {
  assert.equal(variantFor(2).name, "threads");
  assert.throws(() => variantFor(2, "relaxed"), /one thread/);
});
