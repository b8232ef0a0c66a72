// Text of unknown or mixed encoding handled without loss: one character for each byte (ISO 8859-1), so that what no rule
// touches comes out byte for byte as it went in, and only the values that rules touch are decoded.
import { DesensitizationError } from "./desensitization-error.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const PIECE_BYTES = 1 << 16;
const UTF8_BOM = "\xef\xbb\xbf";

/** The input as byte text, in pieces that bound what is held at a time. Refuses UTF-16 (`not_utf8`). */
export async function* byteText(input: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  let begun = false;
  let start = "";
  for await (const bytes of input)
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = start + asBuffer(bytes.subarray(at, at + PIECE_BYTES)).toString("latin1");
      // A byte order mark has up to three bytes.
      start = !begun && piece.length < 3 ? piece : "";
      if (start !== "") continue;
      if (!begun) refuseUtf16(piece);
      begun = true;
      yield piece;
    }
  if (start !== "") yield start;
}

/** How much of the start of the input is a byte order mark. */
export function byteOrderMark(start: string): number {
  return start.startsWith(UTF8_BOM) ? UTF8_BOM.length : 0;
}

/** Byte text to text; `place` and `line` say in a refusal (`not_utf8`) where it stood. */
export function decode(bytes: string, place: string, line: number): string {
  if (!NOT_ASCII.test(bytes)) return bytes;
  try {
    return UTF8.decode(Buffer.from(bytes, "latin1"));
  } catch {
    throw new DesensitizationError("not_utf8", place, line);
  }
}

/** Text to byte text. */
export function encode(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, "utf8").toString("latin1") : text;
}

/** How many lines end within this byte text: LF, CRLF or CR. */
export function lineCount(bytes: string): number {
  let lines = 0;
  for (let at = 0; at < bytes.length; at++) {
    const code = bytes.charCodeAt(at);
    if (code === LF || (code === CR && bytes.charCodeAt(at + 1) !== LF)) lines += 1;
  }
  return lines;
}

const LF = 10;
const CR = 13;
const NOT_ASCII = /[\u0080-\uffff]/;

function refuseUtf16(start: string): void {
  if (start.startsWith("\xff\xfe") || start.startsWith("\xfe\xff"))
    throw new DesensitizationError("not_utf8", "the input begins with the byte order mark of UTF-16", 1);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
