// Owns waiting that can be given up.

/**
 * Settles as `work` does, or rejects with the reason of the first signal that aborts.
 *
 * @internal
 */
export async function unless<T>(work: Promise<T>, ...signals: (AbortSignal | undefined)[]): Promise<T> {
  const heard: [AbortSignal, () => void][] = [];
  const aborted = new Promise<never>((_, reject) => {
    for (const signal of signals) {
      if (!signal) continue;
      const give = () => reject(signal.reason);
      if (signal.aborted) give();
      signal.addEventListener("abort", give);
      heard.push([signal, give]);
    }
  });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    // A signal may outlive thousands of posts.
    for (const [signal, give] of heard) signal.removeEventListener("abort", give);
  }
}
