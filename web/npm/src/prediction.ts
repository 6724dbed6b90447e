// Owns the answer for one post, as the worker serialises it (`shared::predict` in Rust).

/** Which modalities the post had. */
export type Case = "complete" | "text_missing" | "image_missing";

/** What a modality's part in a class is measured in: a cosine of -1 to 1, or its summand of the logit. */
export type Evidence = "cosine" | "logit";

/** What is predicted for one post. */
export interface Prediction {
  /** Which modalities the post had. */
  case: Case;
  /** The likeliest class. */
  label: string;
  /** Its place in the order of the classes. */
  index: number;
  /** Its probability. */
  probability: number;
  /** Whether answers this probable were right as often as was asked for when the classifier was exported (8 of 10, unless
   * it was asked for another share); absent where that was not measured. */
  sure?: boolean;
  /** The classes assigned: the likeliest alone, or in multi-label tasks every class of probability 0.5 or more. */
  labels: string[];
  /** What `image` and `text` of the classes are measured in. */
  evidence: Evidence;
  /** All classes, likeliest first. */
  classes: ClassScore[];
}

/** What is predicted for one class. */
export interface ClassScore {
  /** The class. */
  label: string;
  /** Its place in the order of the classes. */
  index: number;
  /** Softmax over the classes, or in multi-label tasks the sigmoid. */
  probability: number;
  /** As the model gives it. Softmax or sigmoid act on it, divided by the case's temperature where that was measured. */
  logit: number;
  /** What the image says for the class; null if the post has none. */
  image: number | null;
  /** What the text says for the class; null if the post has none. */
  text: number | null;
}
