// Owns pixels on their way to a file: whatever shows a picture, as sRGB in a PNG.
import { ClassifierError } from "./failure.js";
import { PIXELS } from "./limits.js";
import { png } from "./png.js";

/** What can be drawn. @internal */
export type Drawable = ImageBitmap | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement;

/**
 * The picture as a PNG file: what the source shows now, in sRGB, which is what models are trained on. A canvas stores
 * colours multiplied by their opacity, so the colour of a pixel that cannot be seen is lost before it comes here.
 *
 * @internal
 */
export function drawn(source: Drawable): Promise<Uint8Array<ArrayBuffer>> {
  return readable(async () => file(draw("naturalWidth" in source ? await bitmapOf(source) : source)));
}

/**
 * The pixels as a PNG file: in sRGB and bytes bit for bit, others converted. A canvas writes it fastest, but would round
 * transparent ones.
 *
 * @internal
 */
export function dataOf(image: ImageData): Promise<Uint8Array<ArrayBuffer>> {
  return readable(async () => {
    within(image);
    const plain = (image.colorSpace ?? "srgb") === "srgb" && image.data instanceof Uint8ClampedArray;
    if (plain && !opaque(image)) return png(image);
    const canvas = new OffscreenCanvas(image.width, image.height);
    context(canvas, image.colorSpace).putImageData(image, 0, 0);
    return file(plain ? canvas : draw(canvas));
  });
}

/** Says of what goes wrong with pixels what can be done. */
async function readable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ClassifierError) throw error;
    const foreign = error instanceof DOMException && error.name === "SecurityError";
    throw new ClassifierError(
      "image",
      `The picture's pixels cannot be read: ${error}`,
      foreign
        ? 'The picture is from another origin: set crossorigin="anonymous" on its element, or fetch it and give its bytes.'
        : "Wait until the picture is loaded, and give it a size; or give its file.",
    );
  }
}

async function file(canvas: OffscreenCanvas): Promise<Uint8Array<ArrayBuffer>> {
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return new Uint8Array(await blob.arrayBuffer());
}

function opaque({ data }: ImageData): boolean {
  for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return false;
  return true;
}

/** Refuses more pixels than the model decodes, before memory is taken for them. */
function within({ width, height }: { width: number; height: number }): void {
  if (width * height <= PIXELS) return;
  throw new ClassifierError(
    "image",
    `The picture is of ${width} x ${height} pixels; at most ${PIXELS / 1e6} million are decoded.`,
    "Give a smaller picture.",
  );
}

function draw(source: Exclude<Drawable, HTMLImageElement>): OffscreenCanvas {
  const { width, height } = source;
  if (width * height === 0) {
    throw new ClassifierError("image", `The picture is of ${width} x ${height} pixels.`, "Give a picture that has pixels.");
  }
  within(source);
  const canvas = new OffscreenCanvas(width, height);
  context(canvas, "srgb").drawImage(source, 0, 0);
  return canvas;
}

/** Pixels are read back, so they are best kept where the processor has them. */
function context(canvas: OffscreenCanvas, colorSpace: PredefinedColorSpace): OffscreenCanvasRenderingContext2D {
  const context = canvas.getContext("2d", { colorSpace, willReadFrequently: true });
  if (context) return context;
  const size = `${canvas.width} x ${canvas.height}`;
  throw new ClassifierError("memory", `There is no memory for a picture of ${size} pixels.`, "Give a smaller picture, or its file.");
}

/** The pixels of the element's file, turned as its orientation says, but not by its colour profile: as the model's decoder reads it. */
async function bitmapOf(image: HTMLImageElement): Promise<ImageBitmap> {
  if (!image.complete) await image.decode();
  return createImageBitmap(image, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}
