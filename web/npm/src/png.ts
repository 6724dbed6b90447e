// Owns the writing of a PNG file from pixels with their opacity, bit for bit: a canvas would round transparent ones.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** The checksum's remainders of every byte (PNG specification, annex D). */
const REMAINDERS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

type Pieces = Iterable<Uint8Array<ArrayBuffer>> | AsyncIterable<Uint8Array<ArrayBuffer>>;

/**
 * A file of 8 bits for each of red, green, blue and opacity. The pixels are copied before this returns.
 *
 * @internal
 */
export async function png({ width, height, data }: Pick<ImageData, "width" | "height" | "data">): Promise<Uint8Array<ArrayBuffer>> {
  const row = width * 4;
  const rows = new Uint8Array(height * (row + 1));
  // Each row begins with a zero: its bytes follow as they are.
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  const size = new DataView(new ArrayBuffer(13));
  size.setUint32(0, width);
  size.setUint32(4, height);
  size.setUint8(8, 8); // bits a sample
  size.setUint8(9, 6); // red, green, blue, opacity
  const file = new Blob([
    new Uint8Array(SIGNATURE),
    ...(await chunk("IHDR", [new Uint8Array(size.buffer)])),
    ...(await chunk("IDAT", packed(rows))),
    ...(await chunk("IEND", [])),
  ]);
  return new Uint8Array(await file.arrayBuffer());
}

/** The bytes in zlib's format, piece by piece. */
async function* packed(bytes: Uint8Array<ArrayBuffer>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate")).getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value as Uint8Array<ArrayBuffer>;
}

/** Length, name, content and checksum, which is computed as the pieces come: a large picture must not hold up the thread. */
async function chunk(name: string, content: Pieces): Promise<Uint8Array<ArrayBuffer>[]> {
  const parts = [Uint8Array.from(name, (letter) => letter.charCodeAt(0))];
  let rest = checksum(parts[0]!, -1);
  let length = 0;
  for await (const piece of content) {
    parts.push(piece);
    rest = checksum(piece, rest);
    length += piece.length;
  }
  return [number(length), ...parts, number(~rest)];
}

function checksum(bytes: Uint8Array, rest: number): number {
  for (let i = 0; i < bytes.length; i++) rest = REMAINDERS[(rest ^ bytes[i]!) & 0xff]! ^ (rest >>> 8);
  return rest;
}

function number(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setUint32(0, value);
  return new Uint8Array(bytes.buffer);
}
