// Owns what goes wrong, as a sentence with a way out: the worker's failures, and a worker that ended by itself.

/** Kinds of failure: the worker's (`web::protocol::Code` in Rust), and `disposed`. */
export type Code =
  /** No answer from the server. */
  | "network"
  /** The server answered, but not with the file. */
  | "status"
  /** A file of the bundle is damaged, missing or of another format. */
  | "bundle"
  /** Not enough memory. */
  | "memory"
  /** The picture cannot be used. */
  | "image"
  /** The post, or an option, cannot be used. */
  | "input"
  /** The browser lacks something. */
  | "unsupported"
  /** The threads could not be started. */
  | "threads"
  /** A mistake of this program. */
  | "internal"
  /** The classifier was disposed. */
  | "disposed";

/** A failure as it crosses from the worker. @internal */
export interface Failure {
  code: Code;
  message: string;
  hint: string;
}

/** What the classifier rejects with, save for what an AbortSignal gives as its reason. */
export class ClassifierError extends Error {
  override readonly name = "ClassifierError";
  /** What kind it is, for programs. */
  readonly code: Code;
  /** What to do about it, for people; `message` says what went wrong and where. */
  readonly hint: string;

  constructor(code: Code, message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }

  /** @internal */
  static of({ code, message, hint }: Failure): ClassifierError {
    return new ClassifierError(code, message, hint);
  }
}

/**
 * A program that ended by itself or could not start, by what the browser says of it. Where a script could not be
 * fetched, it says nothing.
 *
 * @internal
 */
export function crash(said: string): ClassifierError {
  if (/CompileError|LinkError/.test(said)) {
    return new ClassifierError(
      "unsupported",
      `This browser cannot run the model: it lacks an instruction set of WebAssembly (${said}).`,
      "Use a browser of 2023 or later (Chrome, Edge, Firefox, Safari 16.4), and leave the option `artefact` out.",
    );
  }
  if (/unreachable|memory/i.test(said)) {
    return new ClassifierError(
      "memory",
      `The model's thread ended; most often the device has run out of memory (${said}).`,
      "Close other tabs or use smaller pictures, and call Classifier.load again.",
    );
  }
  return new ClassifierError(
    "internal",
    `The model's thread could not run: ${said || "its scripts could not be loaded"}.`,
    "Look into the browser's console and network panel. The package's files must be served from the page's own origin, " +
      "`.wasm` as application/wasm; an isolated page needs its two headers with the scripts too; and a " +
      "Content-Security-Policy must allow script-src 'self' 'wasm-unsafe-eval' and worker-src 'self' blob:.",
  );
}
