// Owns a model on the thread that asks for it, for those who have a reason not to start a worker.
import { unless } from "./abort.js";
import { place } from "./artefact.js";
import type { Engine, LoadRequest } from "./engine.js";
import { ClassifierError, crash, type Failure } from "./failure.js";
import type { EncodedPost } from "./post.js";
import type { Prediction } from "./prediction.js";
import type { Artefact, Modality, Summary } from "./summary.js";

/** What an artefact's script exports (`web::api` in Rust). */
interface Program {
  default(options: { module_or_path: string }): Promise<unknown>;
  Classifier: {
    load(url: string, onProgress?: (loaded: number, total: number) => void, threads?: number, only?: Modality): Promise<Model>;
  };
}

interface Model {
  readonly summary: Summary;
  classify(image?: Uint8Array, text?: string): Prediction;
  free(): void;
}

/** @internal */
export class Inline implements Engine {
  readonly summary: Summary;
  readonly #model: Model;
  readonly #end = new AbortController();

  private constructor(model: Model) {
    this.#model = model;
    this.summary = model.summary;
  }

  /** Loads the bundle here. An abort is heard at once, but what is being fetched is fetched to its end. */
  static async start(artefact: Artefact, request: LoadRequest): Promise<Inline> {
    if (artefact === "threads" || "DedicatedWorkerGlobalScope" in globalThis) {
      // In a worker the program would take the worker's messages for its own.
      throw new ClassifierError(
        "input",
        artefact === "threads" ? "Threads need a worker to wait in." : "In a worker the model cannot run on the same thread.",
        "Leave the option `worker` out.",
      );
    }
    const model = open(artefact, request);
    try {
      return new Inline(await unless(model, request.signal));
    } catch (error) {
      // Nobody waits for it any more.
      if (request.signal?.aborted) model.then((late) => late.free()).catch(() => undefined);
      throw error;
    }
  }

  get ended(): AbortSignal {
    return this.#end.signal;
  }

  async classify({ image, text }: EncodedPost): Promise<Prediction> {
    try {
      return this.#model.classify(image, text);
    } catch (error) {
      const known = thrown(error);
      // A program that was stopped in the middle of something cannot go on, nor be freed.
      if (error instanceof WebAssembly.RuntimeError) this.#end.abort(known);
      throw known;
    }
  }

  dispose(): void {
    if (this.ended.aborted) return;
    this.#model.free();
    const hint = "Load another with Classifier.load.";
    this.#end.abort(new ClassifierError("disposed", "The classifier was disposed.", hint));
  }
}

async function open(artefact: Artefact, { url, onProgress, only }: LoadRequest): Promise<Model> {
  const { script, program } = place(artefact);
  try {
    const { default: init, Classifier }: Program = await import(/* @vite-ignore */ /* webpackIgnore: true */ script);
    await init({ module_or_path: program });
    return await Classifier.load(url, (loaded, total) => onProgress?.({ loaded, total }), undefined, only);
  } catch (error) {
    throw thrown(error);
  }
}

/** What the program threw: a failure as a plain object, or an exception of the browser. */
function thrown(error: unknown): ClassifierError {
  return error instanceof Error ? crash(String(error)) : ClassifierError.of(error as Failure);
}
