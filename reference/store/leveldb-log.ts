// LevelDB's log format (leveldb/doc/log_format.md), in which it writes what is not in tables yet and which tables there are: blocks of
// 32 KiB with records in one or several pieces, each piece with its checksum.
import { crc32c } from "./crc32c.ts";

const blockBytes = 32_768;
const headerBytes = 7;
const whole = 1;
const last = 4;

/** What a log file holds. */
export interface LogContents {
  readonly records: readonly Uint8Array[];
  /** Offset of a piece that was written and has been altered since. */
  readonly damagedAt: number | undefined;
  /** Offset of a last record of which only the beginning is there, as a crash leaves it. */
  readonly cutShortAt: number | undefined;
}

export function readLog(file: Buffer): LogContents {
  const records: Uint8Array[] = [];
  let pieces: Uint8Array[] = [];
  let begun = 0;
  for (let at = 0; at < file.length; ) {
    const left = blockBytes - (at % blockBytes);
    if (left < headerBytes) {
      at += left;
      continue;
    }
    const piece = readPiece(file, at);
    if (piece === undefined) {
      return isCutShort(file, at)
        ? { records, damagedAt: undefined, cutShortAt: pieces.length > 0 ? begun : at }
        : { records, damagedAt: at, cutShortAt: undefined };
    }
    if (pieces.length === 0) begun = at;
    pieces.push(piece.payload);
    if (piece.type === whole || piece.type === last) {
      records.push(Buffer.concat(pieces));
      pieces = [];
    }
    at += headerBytes + piece.payload.length;
  }
  return { records, damagedAt: undefined, cutShortAt: pieces.length > 0 ? begun : undefined };
}

/** LevelDB stores a checksum so that data which contains checksums does not have a trivial one itself. */
export function storedChecksum(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** @param length what the piece is taken to have, instead of what it says: no checksum covers its length */
function readPiece(
  file: Buffer,
  at: number,
  length = at + headerBytes > file.length ? 0 : file.readUInt16LE(at + 4),
): { readonly type: number; readonly payload: Uint8Array } | undefined {
  if (at + headerBytes > file.length) return undefined;
  const type = file.readUInt8(at + 6);
  const end = at + headerBytes + length;
  const blockEnd = at - (at % blockBytes) + blockBytes;
  if (type < whole || type > last || end > file.length || end > blockEnd) return undefined;
  if (storedChecksum(crc32c(file.subarray(at + 6, end))) !== file.readUInt32LE(at)) return undefined;
  return { type, payload: file.subarray(at + headerBytes, end) };
}

/** Whether from here on there is nothing but the beginning of a last piece, and zeros that a file system put after it. */
function isCutShort(file: Buffer, at: number): boolean {
  let end = file.length;
  while (end > at && file[end - 1] === 0) end--;
  // The whole of a piece is there, and only its checksum is wrong, or only its length: no crash does that.
  if (at + headerBytes <= end && at + headerBytes + file.readUInt16LE(at + 4) <= end) return false;
  if (at + headerBytes < file.length && readPiece(file, at, file.length - at - headerBytes) !== undefined) return false;
  for (let next = at + 1; next + headerBytes <= end; next++) {
    if (readPiece(file, next) !== undefined) return false;
  }
  return true;
}
