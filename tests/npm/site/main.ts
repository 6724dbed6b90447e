// Owns the page that the test drives: it lends the test what the package exports.
import { Classifier, ClassifierError } from "lacuna-classifier";

Object.assign(globalThis, { Classifier, ClassifierError });
