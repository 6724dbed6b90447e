// Owns a whole page around the classifier: it answers while you type, and only the newest question.
import { Classifier, ClassifierError, type Prediction } from "lacuna-classifier";

const find = <E extends HTMLElement>(id: string) => document.getElementById(id) as E;
const image = find<HTMLInputElement>("image");
const text = find<HTMLInputElement>("text");
const answer = find<HTMLOutputElement>("answer");
const bar = find<HTMLProgressElement>("loading");

const classifier = await Classifier.load("/bundle/", {
  onProgress: ({ loaded, total }) => {
    bar.max = total;
    bar.value = loaded;
  },
});
bar.hidden = true;

let asked = new AbortController();
async function ask(): Promise<void> {
  asked.abort();
  asked = new AbortController();
  const post = { image: image.files?.[0], text: text.value };
  try {
    answer.value = sentence(await classifier.classify(post, { signal: asked.signal }));
  } catch (error) {
    if (error instanceof ClassifierError) answer.value = `${error.message} ${error.hint}`;
    else if ((error as Error).name !== "AbortError") throw error;
  }
}

function sentence({ label, probability, case: kase }: Prediction): string {
  const missing = { complete: "", text_missing: ", from the picture alone", image_missing: ", from the text alone" }[kase];
  return `${label}, ${Math.round(100 * probability)} %${missing}`;
}

image.addEventListener("change", ask);
text.addEventListener("input", ask);
