// Owns the measure of what one thread of this browser can do at most: loops of one instruction on registers alone.
import initialiseWabt from "wabt";

/** Independent sums: too few wait for each other, too many do not fit the registers. The best is the ceiling. */
const SUMS = [4, 6, 8, 10, 12];

/** Numbers for x and y: floats near one, for tiny ones are slow on some processors; bytes of at most seven bits. */
const FLOATS = ["f32x4.splat (f32.const 0.9999)", "f32x4.splat (f32.const 1.0001)"];
const BYTES = ["i8x16.splat (local.get $n)", "i8x16.splat (i32.const 93)"];

/**
 * Operations are counted as everywhere: two for each multiplication and addition. Where the product is an instruction of
 * its own, one of its operands is the sum: else the browser would take it out of the loop.
 */
const INSTRUCTIONS = {
  "f32x4 multiply, add": {
    operations: 8,
    numbers: FLOATS,
    step: (sum) => `(f32x4.add (local.get $y) (f32x4.mul ${sum} (local.get $x)))`,
  },
  "f32x4 relaxed multiply-add": {
    operations: 8,
    numbers: FLOATS,
    step: (sum) => `(f32x4.relaxed_madd ${sum} (local.get $x) (local.get $y))`,
  },
  "int16 dot, add": {
    operations: 16,
    numbers: BYTES,
    step: (sum) => `(i32x4.add ${sum} (i32x4.dot_i16x8_s ${sum} (local.get $y)))`,
  },
  "int8 relaxed dot, add": {
    operations: 32,
    numbers: BYTES,
    step: (sum) => `(i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get $x) (local.get $y) ${sum})`,
  },
  "int8 relaxed pairs, widen": {
    operations: 64,
    numbers: BYTES,
    step: (sum) => `(i32x4.add ${sum} (i32x4.extadd_pairwise_i16x8_s (i16x8.add
      (i16x8.relaxed_dot_i8x16_i7x16_s ${sum} (local.get $y))
      (i16x8.relaxed_dot_i8x16_i7x16_s ${sum} (local.get $x)))))`,
  },
};

/** A module whose `run(n)` does `n` rounds of the instruction on each of so many independent sums. */
function text({ numbers: [x, y], step }, sums) {
  const each = (line) => Array.from({ length: sums }, (_, i) => line(i)).join("\n");
  return `(module (func (export "run") (param $n i32) (result i32)
    (local $x v128) (local $y v128) ${each((i) => `(local $s${i} v128)`)}
    (local.set $x (${x})) (local.set $y (${y}))
    ${each((i) => `(local.set $s${i} (i32x4.splat (i32.add (local.get $n) (i32.const ${i}))))`)}
    (loop $again
      ${each((i) => `(local.set $s${i} ${step(`(local.get $s${i})`)})`)}
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (local.get $n)))
    ${each((i) => `(local.set $x (v128.xor (local.get $x) (local.get $s${i})))`)}
    (i32x4.extract_lane 0 (local.get $x))))`;
}

/** Runs in the page: the best of some tries, in billions of operations a second. */
function measure({ bytes, operations, sums }) {
  const module = new WebAssembly.Module(Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)));
  const { run } = new WebAssembly.Instance(module).exports;
  const rounds = 2e6;
  run(rounds);
  let best = Infinity;
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    run(rounds);
    best = Math.min(best, performance.now() - start);
  }
  return (rounds * sums * operations) / best / 1e6;
}

/** All ceilings of one thread in the page, by name; `before` are those of an earlier time, of which the better is kept. */
export async function ceilings(page, before = {}) {
  const wabt = await initialiseWabt();
  const found = { ...before };
  for (const [name, instruction] of Object.entries(INSTRUCTIONS)) {
    for (const sums of SUMS) {
      const module = wabt.parseWat(name, text(instruction, sums), { simd: true, relaxed_simd: true });
      const bytes = Buffer.from(module.toBinary({}).buffer).toString("base64");
      const rate = await page.evaluate(measure, { bytes, operations: instruction.operations, sums });
      found[name] = Math.max(found[name] ?? 0, rate);
    }
  }
  return found;
}

/** The most that any instruction does for these weights: no artefact is held against less because it uses a lesser one. */
export function limitFor(weights, found) {
  const names = Object.keys(INSTRUCTIONS).filter((name) => name.startsWith(weights === "f32" ? "f32" : "int"));
  return Math.max(...names.map((name) => found[name]));
}
