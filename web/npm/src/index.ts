// Owns what the package offers: the classifier, its errors, and the types of what goes in and comes out.
export { Classifier } from "./classifier.js";
export type { BatchOptions, ClassifyOptions, Done, LoadOptions } from "./classifier.js";
export { ClassifierError } from "./failure.js";
export type { Code } from "./failure.js";
export type { ImageSource } from "./image.js";
export type { Post } from "./post.js";
export type { Case, ClassScore, Evidence, Prediction } from "./prediction.js";
export type { About, Artefact, Dtype, Figure, Modality, Summary } from "./summary.js";
export type { Progress } from "./engine.js";
