// CRC-32C (Castagnoli), which LevelDB puts on everything that it writes; Node.js has only the CRC-32 of zlib.
const slices = makeSlices();

/** Of `bytes`, after a prefix whose CRC was `crc`. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const [t0, t1, t2, t3] = slices;
  let state = ~crc;
  let at = 0;
  for (const end = bytes.length - 3; at < end; at += 4) {
    state ^= byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24);
    state =
      entry(t3, state & 0xff) ^
      entry(t2, (state >>> 8) & 0xff) ^
      entry(t1, (state >>> 16) & 0xff) ^
      entry(t0, state >>> 24);
  }
  for (; at < bytes.length; at++) state = entry(t0, (state ^ byte(bytes, at)) & 0xff) ^ (state >>> 8);
  return ~state >>> 0;
}

function makeSlices(): readonly [Uint32Array, Uint32Array, Uint32Array, Uint32Array] {
  const first = Uint32Array.from({ length: 256 }, (_, index) => {
    let value = index;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
    return value;
  });
  const next = (table: Uint32Array) => table.map((value) => entry(first, value & 0xff) ^ (value >>> 8));
  const second = next(first);
  const third = next(second);
  return [first, second, third, next(third)];
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function entry(table: Uint32Array, index: number): number {
  return table[index] ?? 0;
}
