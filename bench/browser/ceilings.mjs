// Owns the measure of what one thread of this browser can do at most: loops of one instruction on registers alone.

const SUMS = 12;

/** Numbers for x and y: floats near one, for tiny ones are slow on some processors; bytes of at most seven bits. */
const FLOATS = ["f32x4.splat (f32.const 0.9999)", "f32x4.splat (f32.const 1.0001)"];
const BYTES = ["i8x16.splat (local.get $n)", "i8x16.splat (i32.const 93)"];

/** A module whose `run(n)` does `n` rounds of the instruction on each of twelve independent sums. */
function text([x, y], step) {
  const each = (line) => Array.from({ length: SUMS }, (_, i) => line(i)).join("\n");
  return `(module (func (export "run") (param $n i32) (result i32)
    (local $x v128) (local $y v128) ${each((i) => `(local $s${i} v128)`)}
    (local.set $x (${x})) (local.set $y (${y}))
    (loop $again
      ${each((i) => `(local.set $s${i} ${step(`(local.get $s${i})`)})`)}
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    ${each((i) => (i ? `(local.set $s0 (v128.xor (local.get $s0) (local.get $s${i})))` : ""))}
    (i32x4.extract_lane 0 (local.get $s0))))`;
}

/** Operations are counted as everywhere: two for each multiplication and addition. */
export const CEILINGS = {
  "f32 multiply, add": { operations: 8, code: text(FLOATS, (s) => `(f32x4.add ${s} (f32x4.mul (local.get $x) (local.get $y)))`) },
  "f32 fused": { operations: 8, code: text(FLOATS, (s) => `(f32x4.relaxed_madd ${s} (local.get $x) (local.get $y))`) },
  // The operand changes with the sum: else the product would be taken out of the loop.
  "int16 dot": { operations: 16, code: text(BYTES, (s) => `(i32x4.add ${s} (i32x4.dot_i16x8_s ${s} (local.get $y)))`) },
  "int8 relaxed dot": {
    operations: 32,
    code: text(BYTES, (s) => `(i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get $x) (local.get $y) ${s})`),
  },
};

/** Runs in the page: the best of some tries, in billions of operations a second. */
export function measure({ bytes, operations, sums }) {
  const module = new WebAssembly.Module(Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)));
  const { run } = new WebAssembly.Instance(module).exports;
  const rounds = 4e6;
  run(rounds);
  let best = Infinity;
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    run(rounds);
    best = Math.min(best, performance.now() - start);
  }
  return (rounds * sums * operations) / best / 1e6;
}

/** All ceilings in the page, by name. */
export async function ceilings(page) {
  const wabt = await (await import("wabt")).default();
  const found = {};
  for (const [name, { operations, code }] of Object.entries(CEILINGS)) {
    const module = wabt.parseWat(name, code, { simd: true, relaxed_simd: true });
    const bytes = Buffer.from(module.toBinary({}).buffer).toString("base64");
    found[name] = await page.evaluate(measure, { bytes, operations, sums: SUMS });
  }
  return found;
}
