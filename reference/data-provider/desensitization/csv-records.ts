// Records of CSV with the place of every field in the original bytes. csv-parse decides what a record and what a field
// is; as its grammar is strict here (no trimming, no lax quotes), each field's value fixes how many bytes it took.
import { type CsvError, type Parser, parse } from "csv-parse";
import { byteOrderMark, lineCount } from "./byte-text.ts";
import { DesensitizationError } from "./desensitization-error.ts";

const QUOTE = 34;

/** All strings are byte text. */
export interface CsvRecord {
  /** The line on which the record begins, from 1. */
  readonly line: number;
  /** What stood between the previous record and this one: empty lines. */
  readonly lead: string;
  readonly raw: string;
  /** Values of the fields, unquoted. */
  readonly fields: readonly string[];
  /** Field `i` is `raw.slice(starts[i], ends[i])`, its quotes included. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** Bytes that belong to no record: a byte order mark at the start, empty lines at the end. */
export interface CsvVerbatim {
  readonly verbatim: string;
}

/**
 * The records of `input`, in batches as they become complete, and what stands around them. Refuses with
 * `malformed_record`, `record_too_long`.
 */
export async function* csvRecords(
  input: AsyncIterable<string>,
  options: { readonly delimiter: string; readonly maxRecordBytes: number },
): AsyncGenerator<CsvRecord[] | CsvVerbatim, void> {
  const { delimiter, maxRecordBytes } = options;
  const found: { fields: string[]; end: number }[] = [];
  const parser = parse({
    encoding: "latin1",
    delimiter,
    record_delimiter: ["\r\n", "\n", "\r"],
    skip_empty_lines: true,
    max_record_size: maxRecordBytes,
    // Records are taken here and not from the readable side: nothing queues up.
    on_record: (fields: string[], info) => {
      found.push({ fields, end: info.bytes });
      return null;
    },
  });
  // `write` and `finish` answer errors; without any listener a stream's error would end the process.
  parser.on("error", () => undefined);
  let held = "";
  let heldFrom = 0;
  let line = 1;
  let begun = false;

  function take(): CsvRecord[] {
    const from = heldFrom;
    let at = 0;
    const records = found.splice(0).map(({ fields, end }) => {
      const whole = held.slice(at, end - from);
      at = end - from;
      const lead = leadOf(whole);
      const record = locate(fields, whole, lead, line + lineCount(whole.slice(0, lead)), delimiter);
      line += lineCount(whole);
      return record;
    });
    held = held.slice(at);
    heldFrom += at;
    return records;
  }

  async function* fed(feed: Promise<CsvError | undefined>): AsyncGenerator<CsvRecord[], void> {
    const error = await feed;
    const records = take();
    if (records.length > 0) yield records;
    if (error !== undefined) throw refusalOf(error, line + lineCount(held.slice(0, leadOf(held))), maxRecordBytes);
    // csv-parse counts what is inside fields; this bounds the rest, such as empty lines without end.
    if (held.length > 2 * maxRecordBytes + (1 << 17))
      throw new DesensitizationError("record_too_long", `more than ${maxRecordBytes} bytes`, line);
  }

  try {
    for await (const piece of input) {
      // csv-parse would switch to UTF-8 at a byte order mark.
      const mark = begun ? 0 : byteOrderMark(piece);
      if (mark > 0) yield { verbatim: piece.slice(0, mark) };
      begun = true;
      held += piece.slice(mark);
      yield* fed(write(parser, piece.slice(mark)));
    }
    yield* fed(finish(parser));
    if (held !== "") yield { verbatim: held };
  } finally {
    parser.destroy();
  }
}

function leadOf(whole: string): number {
  let lead = 0;
  while (whole[lead] === "\n" || whole[lead] === "\r") lead += 1;
  return lead;
}

function locate(fields: string[], whole: string, lead: number, line: number, delimiter: string): CsvRecord {
  const raw = whole.slice(lead);
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const field of fields) {
    const quoted = raw.charCodeAt(at) === QUOTE;
    const end = at + field.length + (quoted ? 2 + quotesIn(field) : 0);
    starts.push(at);
    ends.push(end);
    at = end + delimiter.length;
    const follows =
      starts.length < fields.length ? raw.startsWith(delimiter, end) : /^(?:\r\n|\n|\r)?$/.test(raw.slice(end));
    if (!follows) throw new DesensitizationError("malformed_record", `field ${starts.length} has no clear end`, line);
  }
  return { line, lead: whole.slice(0, lead), raw, fields, starts, ends };
}

function quotesIn(field: string): number {
  let quotes = 0;
  for (let at = field.indexOf('"'); at !== -1; at = field.indexOf('"', at + 1)) quotes += 1;
  return quotes;
}

function write(parser: Parser, piece: string): Promise<CsvError | undefined> {
  return new Promise((resolve) => {
    parser.write(Buffer.from(piece, "latin1"), (error) => resolve((error as CsvError | null | undefined) ?? undefined));
  });
}

function finish(parser: Parser): Promise<CsvError | undefined> {
  return new Promise((resolve) => {
    parser.once("error", resolve);
    parser.once("end", () => resolve(undefined));
    parser.resume();
    parser.end();
  });
}

/** csv-parse's own texts quote the field. */
const MALFORMED: Partial<Record<CsvError["code"], string>> = {
  CSV_QUOTE_NOT_CLOSED: "a quote is not closed",
  CSV_INVALID_CLOSING_QUOTE: "something follows a closing quote",
  INVALID_OPENING_QUOTE: "a quote stands inside a field that does not begin with one",
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: "the record has more or fewer fields than the header",
};

function refusalOf(error: CsvError, line: number, maxRecordBytes: number): DesensitizationError {
  if (error.code === "CSV_MAX_RECORD_SIZE")
    return new DesensitizationError("record_too_long", `more than ${maxRecordBytes} bytes`, line);
  return new DesensitizationError("malformed_record", MALFORMED[error.code] ?? error.code, line);
}
