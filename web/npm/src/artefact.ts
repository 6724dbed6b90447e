// Owns the choice among the model's builds, as the page makes it (`web::ui::artefact` in Rust), and where they lie.
import type { Engine, LoadRequest, Start } from "./engine.js";
import { ClassifierError, type Code } from "./failure.js";
import type { Artefact } from "./summary.js";

/**
 * A module with one function that does nothing but multiply with a relaxed instruction: valid where there are such
 * instructions. It was written by hand; each line is one section of the binary format.
 */
// prettier-ignore
const RELAXED = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // "\0asm", version 1
  0x01, 0x04, 0x01, 0x60, 0x00, 0x00, // types: one, nothing to nothing
  0x03, 0x02, 0x01, 0x00, // functions: one of that type
  0x0a, 0x14, 0x01, 0x12, 0x00, // code: one body of 18 bytes without locals
  0x41, 0x00, 0xfd, 0x0f, // i32.const 0, i8x16.splat
  0x41, 0x00, 0xfd, 0x0f,
  0x41, 0x00, 0xfd, 0x0f,
  0xfd, 0x93, 0x02, // i32x4.relaxed_dot_i8x16_i7x16_add_s
  0x1a, 0x0b, // drop, end
]);

/** Failures that another artefact may not have; a missing file of the bundle is the same for all. */
const OWN: readonly Code[] = ["threads", "unsupported", "memory", "internal"];

/** Where an artefact's script and program lie. @internal */
export interface Place {
  script: string;
  program: string;
}

/**
 * Where an artefact lies. Each address is written out, for bundlers find files by this very pattern: they copy script
 * and program as they are. The script must stay a module with its own exports, because the threads import it again.
 *
 * @internal
 */
export function place(artefact: Artefact): Place {
  switch (artefact) {
    case "baseline":
      return {
        script: new URL("./artefacts/baseline.js", import.meta.url).href,
        program: new URL("./artefacts/baseline_bg.wasm", import.meta.url).href,
      };
    case "relaxed":
      return {
        script: new URL("./artefacts/relaxed.js", import.meta.url).href,
        program: new URL("./artefacts/relaxed_bg.wasm", import.meta.url).href,
      };
    case "threads":
      return {
        script: new URL("./artefacts/threads.js", import.meta.url).href,
        program: new URL("./artefacts/threads_bg.wasm", import.meta.url).href,
      };
  }
}

/**
 * Starts the fastest artefact that this browser runs; `threads` says whether that may be the one with threads. Where
 * threads cannot be had after all, for want of memory or because something forbids them, starts the next.
 *
 * @internal
 */
export async function startFastest(start: Start, request: LoadRequest, threads: boolean): Promise<Engine> {
  if (!WebAssembly.validate(RELAXED)) return start("baseline", request);
  // With one thread a shared memory is only slower.
  const shares = threads && request.threads !== 1 && globalThis.crossOriginIsolated && navigator.hardwareConcurrency >= 2;
  if (!shares) return start("relaxed", request);
  try {
    return await start("threads", request);
  } catch (error) {
    if (!(error instanceof ClassifierError && OWN.includes(error.code))) throw error;
    console.warn(`${error.message} It goes on with one thread.`);
    return start("relaxed", request);
  }
}
