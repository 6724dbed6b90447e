// Owns the ways a picture comes in, and how each becomes the bytes of an image file.
import { ClassifierError } from "./failure.js";
import { PICTURE_BYTES } from "./limits.js";
import { dataOf, drawn, type Drawable } from "./pixels.js";

/**
 * A picture. Files (PNG, JPEG, WebP, GIF) as Blob, bytes or address are sent as they are and decoded by the model's own
 * decoder, exactly as in training. Pixels are turned into a PNG without loss.
 */
export type ImageSource =
  | Blob
  | string
  | URL
  | ArrayBuffer
  | ArrayBufferView
  | ImageData
  | ImageBitmap
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLImageElement;

/**
 * The bytes of an image file, in a buffer of their own: what the caller does with the source afterwards changes nothing.
 *
 * @internal
 */
export async function encoded(source: ImageSource, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof source === "string") return fetched(source, signal);
  if (ArrayBuffer.isView(source)) return copy(new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
  // By their names, since things from a frame have classes of their own, and a worker does not know all of these.
  const kind = Object.prototype.toString.call(source).slice("[object ".length, -1);
  switch (kind) {
    case "URL":
      return fetched((source as URL).href, signal);
    case "Blob":
    case "File":
      return read(source as Blob);
    case "ArrayBuffer":
    case "SharedArrayBuffer":
      return copy(new Uint8Array(source as ArrayBuffer));
    case "ImageData":
      return dataOf(source as ImageData);
    case "ImageBitmap":
    case "HTMLCanvasElement":
    case "OffscreenCanvas":
    case "HTMLImageElement":
      return drawn(source as Drawable);
    default:
      throw new ClassifierError(
        "input",
        `The post's image is of the type ${kind}, which is no picture.`,
        "Give a File, Blob, address, ArrayBuffer, Uint8Array, ImageData, ImageBitmap, canvas or img element, " +
          "or leave the image out if it is missing.",
      );
  }
}

function copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  within(bytes.byteLength);
  return new Uint8Array(bytes);
}

/** Refuses what is too large before it is read, as the model would after. */
function within(size: number): void {
  if (size <= PICTURE_BYTES) return;
  throw new ClassifierError(
    "image",
    `The picture's file has ${size} bytes; at most ${PICTURE_BYTES} are read.`,
    "Make the picture smaller.",
  );
}

async function read(blob: Blob): Promise<Uint8Array<ArrayBuffer>> {
  within(blob.size);
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (error) {
    throw new ClassifierError("image", `The picture's file cannot be read: ${error}.`, "Choose the file again.");
  }
}

async function fetched(address: string, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  // An address with a whole picture in it is no name for people.
  const name = address.length > 200 ? `${address.slice(0, 80)}...` : address;
  let answer;
  try {
    answer = await fetch(address, signal ? { signal } : {});
    if (answer.ok) {
      within(Number(answer.headers.get("content-length") ?? 0));
      const bytes = new Uint8Array(await answer.arrayBuffer());
      within(bytes.byteLength);
      return bytes;
    }
  } catch (error) {
    if (error instanceof ClassifierError) throw error;
    signal?.throwIfAborted();
    throw new ClassifierError(
      "network",
      `The picture ${name} cannot be fetched.`,
      "Check the address and the connection. Another origin's server must allow it by CORS headers, and the page's " +
        "Content-Security-Policy by connect-src.",
    );
  }
  throw new ClassifierError(
    "status",
    `The picture ${name} cannot be fetched: the server answers ${answer.status} ${answer.statusText}`.trimEnd() + ".",
    "Check the address.",
  );
}
