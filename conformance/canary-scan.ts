// Looks for many known values in one text at once: a value that must not be there, and is, has leaked.

/** Which of `values` occur in `data`, as UTF-8; time grows with the length of the data, not with the number of values. */
export function valuesIn(data: Uint8Array, values: readonly string[]): string[] {
  const wanted = values
    .filter((value) => value !== "")
    .map((value) => ({ value, bytes: Buffer.from(value).toString("latin1") }));
  const window = Math.min(...wanted.map(({ bytes }) => bytes.length));
  const byBeginning = Map.groupBy(wanted, ({ bytes }) => bytes.slice(0, window));
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1");
  const found = new Set<string>();
  for (let at = 0; at + window <= text.length; at++)
    for (const { value, bytes } of byBeginning.get(text.slice(at, at + window)) ?? [])
      if (text.startsWith(bytes, at)) found.add(value);
  return [...found];
}
