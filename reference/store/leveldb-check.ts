// Whether a LevelDB database is as LevelDB wrote it. LevelDB itself leaves out what it cannot read of its log, starts anew where its file
// CURRENT is missing, and then removes the files that it does not know any more: damage would become loss without a word.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ByteReader } from "./byte-reader.ts";
import { type LogContents, readLog } from "./leveldb-log.ts";
import { checkTable } from "./leveldb-table.ts";

/** A database that was altered since LevelDB wrote it; the message says which file and what. */
export class DatabaseDamage extends Error {
  override name = "DatabaseDamage";
}

/**
 * Reads the database, which no process may have open, and changes nothing. Its last entries cut off look as after a crash, and are not
 * found. Without `contents` tables are only there and of their size, which takes as long for many as for few.
 * Where it was `closed` in order, not even a last entry may be cut short.
 * @returns where entries are cut short
 * @throws DatabaseDamage, or the file system's error
 */
export async function checkDatabase(directory: string, { contents = true, closed = false } = {}): Promise<string[]> {
  const names: string[] = await readdir(directory).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return [];
    throw cause;
  });
  if (!names.includes("CURRENT")) {
    const orphan = names.find((name) => /\.(ldb|sst)$|^\d+\.log$/.test(name));
    if (orphan !== undefined) throw new DatabaseDamage("CURRENT is missing");
    return [];
  }
  const [, current] = /^(MANIFEST-\d+)\n$/.exec(await readFile(join(directory, "CURRENT"), "latin1")) ?? [];
  if (current === undefined) throw new DatabaseDamage("CURRENT is altered");
  if (!names.includes(current)) throw new DatabaseDamage(`${current} is missing`);
  const read = (name: string) => readFile(join(directory, name));
  const cutShort: string[] = [];
  const check = (name: string, { damagedAt, cutShortAt }: LogContents): void => {
    const at = closed ? (damagedAt ?? cutShortAt) : damagedAt;
    if (at !== undefined) throw new DatabaseDamage(`${name} is altered at ${at}`);
    if (cutShortAt !== undefined) cutShort.push(`${name} at ${cutShortAt}`);
  };
  const manifest = readLog(await read(current));
  check(current, manifest);
  const { log, tables } = stateOf(current, manifest.records);
  for (const [number, size] of tables) {
    const name = [".ldb", ".sst"].map((ending) => fileName(number, ending)).find((name) => names.includes(name));
    if (name === undefined) throw new DatabaseDamage(`${fileName(number, ".ldb")} is missing`);
    const length = (await stat(join(directory, name))).size;
    if (length !== size) throw new DatabaseDamage(`${name} has ${length} bytes instead of ${size}`);
    if (contents) checkContents(name, await read(name));
  }
  // The log that the state names is removed only after a state that names a later one.
  if (log > 0 && !names.includes(fileName(log, ".log")))
    throw new DatabaseDamage(`${fileName(log, ".log")} is missing`);
  for (const name of names.filter((name) => /^\d+\.log$/.test(name) && Number.parseInt(name, 10) >= log)) {
    check(name, readLog(await read(name)));
  }
  return cutShort;
}

interface State {
  /** Number of the log whose entries are in no table yet. */
  readonly log: number;
  /** Number and size of each table. */
  readonly tables: ReadonlyMap<number, number>;
}

function stateOf(name: string, records: readonly Uint8Array[]): State {
  const state = { log: -1, tables: new Map<number, number>() };
  for (const record of records) {
    const reader = new ByteReader(record);
    while (!reader.done) applyField(state, reader, name);
  }
  if (state.log < 0) throw new DatabaseDamage(`${name} is cut short`);
  return state;
}

/** One field of a VersionEdit (leveldb/db/version_edit.cc). */
function applyField(state: { log: number; tables: Map<number, number> }, reader: ByteReader, name: string): void {
  const text = () => reader.bytes(reader.varint());
  switch (reader.varint()) {
    case 1: // comparator
      text();
      return;
    case 2: // log number
      state.log = reader.varint();
      return;
    case 3: // next file number
    case 4: // last sequence number
    case 9: // previous log number
      reader.varint();
      return;
    case 5: // where the compaction of a level goes on
      reader.varint();
      text();
      return;
    case 6: // table removed
      reader.varint();
      state.tables.delete(reader.varint());
      return;
    case 7: {
      // table added: level, number, size, smallest and largest key
      reader.varint();
      const number = reader.varint();
      state.tables.set(number, reader.varint());
      text();
      text();
      return;
    }
    default:
      throw new DatabaseDamage(`${name} is of an unknown version`);
  }
}

function checkContents(name: string, file: Buffer): void {
  try {
    checkTable(file);
  } catch (cause) {
    throw new DatabaseDamage(`${name} is ${cause instanceof Error ? cause.message : "altered"}`, { cause });
  }
}

function fileName(number: number, ending: string): string {
  return `${String(number).padStart(6, "0")}${ending}`;
}
