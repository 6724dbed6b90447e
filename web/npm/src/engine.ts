// Owns what a running model is to the classifier, wherever it runs.
import type { EncodedPost } from "./post.js";
import type { Prediction } from "./prediction.js";
import type { Artefact, Modality, Summary } from "./summary.js";

/** Bytes of the bundle received so far; the total is known exactly from its manifest. */
export interface Progress {
  loaded: number;
  total: number;
}

/** What is to be loaded. @internal */
export interface LoadRequest {
  /** The bundle's folder, absolute, with the slash at its end. */
  url: string;
  threads: number | undefined;
  only: Modality | undefined;
  onProgress: ((progress: Progress) => void) | undefined;
  signal: AbortSignal | undefined;
}

/** A loaded model. @internal */
export interface Engine {
  readonly summary: Summary;
  /** Aborted when the model is gone, with the ClassifierError that says why. */
  readonly ended: AbortSignal;
  classify(post: EncodedPost): Promise<Prediction>;
  dispose(): void;
}

/** Loads a bundle with one of the artefacts. @internal */
export type Start = (artefact: Artefact, request: LoadRequest) => Promise<Engine>;
