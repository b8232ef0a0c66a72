// Collecting what is to be shared (P1; F3.1, A1.1): read and desensitized whole before anything is registered anywhere, so that a file that
// cannot be read, or rules that do not fit it, leave no trace at any server.
import { constants, createReadStream } from "node:fs";
import { access, open, rm, stat } from "node:fs/promises";
import { extname } from "node:path";
import type { Progress } from "../user/progress.ts";
import type { StateDirectory } from "../user/state-directory.ts";
import { desensitize } from "./desensitization/desensitize.ts";
import type { DesensitizationReport } from "./desensitization/plan.ts";
import { pseudonymizationKeyFile } from "./desensitization/pseudonymization-key.ts";
import { namingRuleFile, readRules } from "./desensitization/rule-file.ts";
import type { Format } from "./desensitization/rules.ts";
import { CHUNK_BYTES, fileBytes, writeWhole } from "./wrapping.ts";

export interface CollectionOptions {
  /** Rules to desensitize by; where there are none, `raw` has to say that none are needed. */
  readonly rules?: string;
  readonly raw?: true;
  readonly format?: Format;
  /** File of the key of pseudonyms. */
  readonly pseudonymizationKey?: string;
}

/** Data that cannot be collected; the message says why and what to give instead. */
export class CollectionError extends Error {
  override name = "CollectionError";
}

/** To be read once. */
export interface Collected {
  readonly data: AsyncIterable<Uint8Array>;
  readonly report?: DesensitizationReport;
  close(): Promise<void>;
}

/**
 * Looks at what can be looked at without reading the data, and answers how to collect it.
 * @param file a path, or - for standard input
 * @throws CollectionError, DesensitizationError rule_file
 */
export async function prepareCollection(
  file: string,
  options: CollectionOptions,
  standardInput: AsyncIterable<Uint8Array> = process.stdin,
): Promise<(state: StateDirectory, seen: Progress) => Promise<Collected>> {
  if (options.rules !== undefined && options.raw !== undefined)
    throw new CollectionError("--rules and --raw exclude each other: desensitized by rules, or shared as it is");
  if (options.rules === undefined && options.raw === undefined)
    throw new CollectionError(
      "personal data is desensitized before it is shared (F3.1): give --rules FILE, or --raw if there is nothing to desensitize",
    );
  const atRest = file !== "-" && (await checkFile(file));
  if (options.rules === undefined) {
    return async (state, seen) => {
      if (!atRest) return spool(file === "-" ? standardInput : bytesOf(file), state, seen);
      seen("F3.1", `${file} collected, raw`);
      return { data: fileBytes(file, 0), close: async () => {} };
    };
  }
  const format = options.format ?? formatByName[extname(file).toLowerCase()];
  if (format === undefined)
    throw new CollectionError(`--rules needs --format csv or --format jsonl: the name ${file} does not tell`);
  const ruleFile = options.rules;
  const rules = readRules(ruleFile);
  const { pseudonymizationKey: keyFile } = options;
  const key = keyFile === undefined ? {} : { pseudonymizationKey: pseudonymizationKeyFile(keyFile) };
  return async (state, seen) => {
    const { output, report } = desensitize(file === "-" ? standardInput : bytesOf(file), rules, { format, ...key });
    const collected = await spool(output, state, (step, text) =>
      seen(step, `${text}, desensitized by ${ruleFile}`),
    ).catch((cause: unknown) => {
      throw namingRuleFile(ruleFile, cause);
    });
    return { ...collected, report: await report };
  };
}

/** Answers whether the file is at rest: one that can be read again and has a size. */
async function checkFile(file: string): Promise<boolean> {
  const unreadable = (cause: NodeJS.ErrnoException) => {
    throw new CollectionError(`cannot read ${file} (${cause.code}); name a file that exists, or - for standard input`);
  };
  const found = await stat(file).catch(unreadable);
  if (found.isDirectory()) throw new CollectionError(`${file} is a directory; name a file in it`);
  await access(file, constants.R_OK).catch(unreadable);
  if (found.isFile() && found.size === 0) throw new CollectionError(`${file} is empty; there is nothing to share`);
  return found.isFile();
}

/** Keeps the bytes in a file without a name: however this process ends, nothing of them is left. */
async function spool(bytes: AsyncIterable<Uint8Array>, state: StateDirectory, seen: Progress): Promise<Collected> {
  const path = state.file(`collected-${process.pid}`);
  const file = await open(path, "w+", 0o600);
  try {
    await rm(path);
    let size = 0;
    for await (const piece of bytes) {
      await writeWhole(file, piece);
      size += piece.length;
    }
    if (size === 0) throw new CollectionError("there is nothing to share: no data came");
    seen("F3.1", `${size} bytes collected`);
  } catch (cause) {
    await file.close();
    throw cause;
  }
  const data = file.createReadStream({ start: 0, highWaterMark: CHUNK_BYTES, autoClose: false });
  return { data, close: () => file.close() };
}

function bytesOf(file: string): AsyncIterable<Uint8Array> {
  return createReadStream(file, { highWaterMark: CHUNK_BYTES });
}

const formatByName: Readonly<Record<string, Format>> = { ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl" };
