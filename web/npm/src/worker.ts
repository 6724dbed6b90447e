// Owns the first moments of the worker: hears where its program lies, and starts it. From then on the program listens.
import type { Place } from "./artefact.js";

addEventListener("message", start, { once: true });

async function start({ data: { script, program } }: MessageEvent<Place>): Promise<void> {
  try {
    const { default: init } = await import(/* @vite-ignore */ /* webpackIgnore: true */ script);
    await init({ module_or_path: program });
  } catch (error) {
    // Outside of the promise, where the page hears of it as of every other end of this thread.
    setTimeout(() => {
      throw error;
    });
  }
}
