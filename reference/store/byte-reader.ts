// Reads the numbers and byte strings of a binary format one after the other.

/** Bytes end before what they announce. */
export class EndOfBytes extends Error {
  override name = "EndOfBytes";
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** A number in groups of seven bits, the lowest first. @throws EndOfBytes */
  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const [byte = 0] = this.bytes(1);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  /** @throws EndOfBytes */
  bytes(count: number): Uint8Array {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new EndOfBytes(`${count} bytes expected at ${this.#at}`);
    const found = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return found;
  }
}
