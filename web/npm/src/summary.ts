// Owns what is known of a loaded classifier, as the worker serialises it (`web::protocol::Summary` in Rust).
import type { Case } from "./prediction.js";

/** One side of a post. */
export type Modality = "image" | "text";

/** The worker's builds: 128-bit SIMD, relaxed SIMD, and relaxed SIMD with threads. */
export type Artefact = "baseline" | "relaxed" | "threads";

/** How weights are stored. */
export type Dtype = "f32" | "f16" | "int8";

/** What was loaded. */
export interface Summary {
  /** Name, licence, how it was made and what was measured. */
  about: About;
  /** The checksum of its manifest: which bundle it is. */
  checksum: string;
  /** The classes in the order of the logits. */
  classes: string[];
  /** How the weights are stored. */
  dtype: Dtype;
  /** Size of all files that were loaded, in bytes. */
  bytes: number;
  /** How many of these bytes this device had kept. */
  kept: number;
  /** Which build computes. */
  artefact: Artefact;
  /** How many threads compute. */
  threads: number;
}

/** What people want to know of a classifier. */
export interface About {
  /** Its name. */
  name: string;
  /** What it does, in a sentence or two. */
  description: string;
  /** Under which licence the weights may be used. */
  licence: string;
  /** How it was made, one fact an entry. */
  made: string[];
  /** What was measured. */
  figures: Figure[];
  /** What storing the weights this way changed, against the model as trained; absent where it was not measured. */
  drift?: Figure[];
}

/** One measured figure. */
export interface Figure {
  /** Of which split, such as `test`. */
  split: string;
  /** Of posts of which case; absent for a mix of them. */
  case?: Case;
  /** Of what, such as `accuracy`. */
  metric: string;
  /** The value. */
  value: number;
  /** Over how many posts. */
  posts: number;
}
