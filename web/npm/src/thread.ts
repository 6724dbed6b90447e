// Owns a model in a worker of its own: starting it, asking, listening, and its end. Speaks `web::protocol` of the Rust side.
import { unless } from "./abort.js";
import { place } from "./artefact.js";
import type { Engine, LoadRequest, Progress } from "./engine.js";
import { ClassifierError, crash, type Failure } from "./failure.js";
import type { EncodedPost } from "./post.js";
import type { Prediction } from "./prediction.js";
import type { Artefact, Summary } from "./summary.js";

/** What the worker tells. */
type Event =
  | { type: "awake" }
  | ({ type: "progress" } & Progress)
  | { type: "ready"; summary: Summary }
  | { type: "prediction"; id: number; prediction: Prediction; milliseconds: number; requests: number }
  | { type: "failed"; id: number | null; failure: Failure };

/** Who waits for an answer. */
interface Asker {
  resolve(prediction: Prediction): void;
  reject(error: ClassifierError): void;
}

/** @internal */
export class Thread implements Engine {
  summary!: Summary;
  readonly #worker: Worker;
  readonly #end = new AbortController();
  readonly #askers = new Map<number, Asker>();
  #asked = 0;

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Starts a worker and loads the bundle. An abort ends the worker at once, in whatever it does. */
  static async start(artefact: Artefact, request: LoadRequest): Promise<Thread> {
    const thread = new Thread(begin(artefact));
    try {
      await unless(thread.#load(request), request.signal, thread.ended);
      return thread;
    } catch (error) {
      thread.#close(error);
      throw error;
    }
  }

  get ended(): AbortSignal {
    return this.#end.signal;
  }

  classify(post: EncodedPost): Promise<Prediction> {
    const id = ++this.#asked;
    const answer = new Promise<Prediction>((resolve, reject) => this.#askers.set(id, { resolve, reject }));
    this.#worker.postMessage({ type: "classify", id, ...post }, post.image ? [post.image.buffer] : []);
    return unless(answer, this.ended);
  }

  dispose(): void {
    const hint = "Load another with Classifier.load.";
    this.#close(new ClassifierError("disposed", "The classifier was disposed.", hint));
  }

  /** Listens, and returns once the bundle is loaded; what goes wrong before ends the thread. */
  #load({ url, threads, only, onProgress }: LoadRequest): Promise<void> {
    return new Promise((loaded) => {
      this.#worker.onmessage = ({ data: event }: MessageEvent<Event>) => {
        switch (event.type) {
          case "awake":
            this.#worker.postMessage({ type: "load", url, threads, only });
            break;
          case "progress":
            onProgress?.({ loaded: event.loaded, total: event.total });
            break;
          case "ready":
            this.summary = event.summary;
            loaded();
            break;
          case "prediction":
            this.#take(event.id)?.resolve(event.prediction);
            break;
          case "failed": {
            const error = ClassifierError.of(event.failure);
            if (event.id == null) this.#close(error);
            else this.#take(event.id)?.reject(error);
          }
        }
      };
      this.#worker.onerror = (event) => {
        event.preventDefault();
        this.#close(crash(event.message ?? ""));
      };
    });
  }

  #take(id: number): Asker | undefined {
    const asker = this.#askers.get(id);
    this.#askers.delete(id);
    return asker;
  }

  /** Ends the worker, which is the only way to give WebAssembly's memory back. What it had said before counts no more. */
  #close(reason: unknown): void {
    this.#worker.terminate();
    this.#worker.onmessage = this.#worker.onerror = null;
    this.#askers.clear();
    this.#end.abort(reason);
  }
}

/** Starts a worker with the artefact's program. The pattern of the address is the one that bundlers look for. */
function begin(artefact: Artefact): Worker {
  let worker;
  try {
    worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "lacuna" });
  } catch (error) {
    throw crash(String(error));
  }
  worker.postMessage(place(artefact));
  return worker;
}
