/// <reference lib="esnext.disposable" preserve="true" />
// Owns the classifier as callers see it: loading, posts one by one or many, and its end.
import { startFastest } from "./artefact.js";
import type { Engine, LoadRequest, Progress } from "./engine.js";
import { ClassifierError } from "./failure.js";
import { Inline } from "./inline.js";
import { encode, type Post } from "./post.js";
import type { Prediction } from "./prediction.js";
import { Queue } from "./queue.js";
import type { Artefact, Modality, Summary } from "./summary.js";
import { Thread } from "./thread.js";

/** How a classifier is loaded. */
export interface LoadOptions {
  /** Hears of the bundle's bytes. */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Gives loading up: nothing is fetched any more, and the memory is given back. */
  signal?: AbortSignal | undefined;
  /** Load the tower of this modality alone, if the other side is never classified. */
  only?: Modality | undefined;
  /** How many threads compute; otherwise as many as the device has, at most 8. Threads need an isolated page. */
  threads?: number | undefined;
  /** False to compute on the calling thread, which answers nothing else meanwhile. */
  worker?: boolean | undefined;
  /** Start this build and no other; otherwise the fastest that the browser runs. */
  artefact?: Artefact | undefined;
}

/** How a post is classified. */
export interface ClassifyOptions {
  /** Gives the answer up. */
  signal?: AbortSignal | undefined;
}

/** How many posts are classified. */
export interface BatchOptions extends ClassifyOptions {
  /** Hears of posts that have their answer. */
  onProgress?: ((progress: Done) => void) | undefined;
}

/** Posts that have their answer, and all. */
export interface Done {
  done: number;
  total: number;
}

/** How many posts of a batch are read at a time: one is computed while the next is read. */
const AHEAD = 2;

/** A loaded classifier of posts. */
export class Classifier {
  readonly #engine: Engine;
  readonly #queue = new Queue();

  private constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Loads the bundle whose folder is at `url`, relative to the page or absolute.
   *
   * @throws {ClassifierError} if it cannot be loaded; the signal's reason if that aborts
   */
  static async load(url: string | URL, options: LoadOptions = {}): Promise<Classifier> {
    const request = requestOf(url, options);
    request.signal?.throwIfAborted();
    const start = options.worker === false ? Inline.start : Thread.start;
    const engine = options.artefact
      ? await start(options.artefact, request)
      : await startFastest(start, request, options.worker !== false);
    return new Classifier(engine);
  }

  /** What was loaded. */
  get summary(): Summary {
    return this.#engine.summary;
  }

  /**
   * Classifies a post with an image, a text, or both. Calls while one is being answered wait for their turn. The post is
   * read when the call is made, so its bytes and canvases may be used again at once.
   *
   * @throws {ClassifierError} if the post cannot be used, or the classifier is gone; the signal's reason if that aborts
   */
  async classify(post: Post, { signal }: ClassifyOptions = {}): Promise<Prediction> {
    signal?.throwIfAborted();
    const { ended } = this.#engine;
    if (ended.aborted) throw again(ended.reason);
    const encoded = encode(post, signal);
    // Whether anybody waits for it is known only when its turn comes.
    encoded.catch(() => undefined);
    return this.#queue.add(async () => this.#engine.classify(await encoded), signal, ended);
  }

  /**
   * Classifies posts, and returns their answers in the same order. A post that cannot be used has its failure in place of
   * a prediction; what concerns all, such as an abort, ends the batch.
   *
   * @throws {ClassifierError} if the classifier is gone; the signal's reason if that aborts
   */
  async classifyBatch(posts: Iterable<Post>, { onProgress, signal }: BatchOptions = {}): Promise<(Prediction | ClassifierError)[]> {
    const all = [...posts];
    const answers: (Prediction | ClassifierError)[] = [];
    const ahead: Promise<Prediction | ClassifierError>[] = [];
    for (let next = 0; answers.length < all.length; ) {
      for (; next < all.length && ahead.length < AHEAD; next++) ahead.push(this.classify(all[next]!, { signal }).catch(failure));
      const answer = await ahead.shift()!;
      signal?.throwIfAborted();
      this.#engine.ended.throwIfAborted();
      answers.push(answer);
      onProgress?.({ done: answers.length, total: all.length });
    }
    return answers;
  }

  /** Gives the memory back. What waits is rejected. */
  dispose(): void {
    this.#engine.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function requestOf(url: string | URL, { threads, only, onProgress, signal }: LoadOptions): LoadRequest {
  const refuse = (message: string, hint: string): never => {
    throw new ClassifierError("input", message, hint);
  };
  let folder: URL;
  try {
    folder = new URL(url, globalThis.document?.baseURI ?? location.href);
  } catch {
    return refuse(`${url} is no address.`, 'Give the address of the bundle\'s folder, such as "bundle/".');
  }
  if (folder.search || folder.hash || folder.pathname.endsWith(".json")) {
    return refuse(`${folder} is not the address of a folder.`, "Give that of the folder that holds manifest.json.");
  }
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  if (threads !== undefined && !(Number.isInteger(threads) && threads > 0)) {
    return refuse(`There cannot be ${threads} threads.`, "Give a whole number from 1, or leave `threads` out.");
  }
  if (only !== undefined && only !== "image" && only !== "text") {
    return refuse(`There is no modality ${JSON.stringify(only)}.`, 'Give "image" or "text", or leave `only` out for both.');
  }
  return { url: folder.href, threads, only, onProgress, signal };
}

/** Why a call cannot be answered any more. */
function again({ code, message, hint }: ClassifierError): ClassifierError {
  return new ClassifierError(code, code === "disposed" ? message : `The classifier has ended. ${message}`, hint);
}

/** What a post is rejected with, as its answer. */
function failure(error: unknown): ClassifierError {
  if (error instanceof ClassifierError) return error;
  return new ClassifierError("internal", String(error), "If it happens again, please report it with this sentence.");
}
