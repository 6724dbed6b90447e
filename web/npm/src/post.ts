// Owns the post: what the caller gives, and how it is sent.
import { ClassifierError } from "./failure.js";
import { encoded, type ImageSource } from "./image.js";

/** A post, either side of which may be missing. */
export interface Post {
  /** The picture. */
  image?: ImageSource | null | undefined;
  /** The text. A text of nothing but white space counts as missing. */
  text?: string | null | undefined;
}

/** A post as the model takes it. @internal */
export interface EncodedPost {
  /** The bytes of an image file, of which nobody else knows. */
  image?: Uint8Array<ArrayBuffer>;
  text?: string;
}

/** @internal */
export async function encode(post: Post, signal?: AbortSignal): Promise<EncodedPost> {
  const { image, text } = post ?? {};
  if (text != null && typeof text !== "string") {
    throw new ClassifierError(
      "input",
      `The post's text is of the type ${typeof text}.`,
      "Give a string, or leave the text out if it is missing.",
    );
  }
  return {
    ...(image != null && { image: await encoded(image, signal) }),
    ...(text != null && { text }),
  };
}
