import { decode, encode } from "./byte-text.ts";
import { type CsvRecord, csvRecords } from "./csv-records.ts";
import { DesensitizationError } from "./desensitization-error.ts";
import type { Plan } from "./plan.ts";
import type { Treatment } from "./treatment.ts";

interface TreatedColumn {
  readonly name: string;
  readonly treatment: Treatment;
  /** Columns that hold names to look for. */
  readonly nameColumns: readonly number[];
}

/**
 * CSV after the plan, as byte text. Only values that a rule changed are written anew, quoted where they were or must be;
 * everything else, line ends included, is the input's own bytes.
 */
export async function* desensitizeCsv(
  input: AsyncIterable<string>,
  plan: Plan,
  options: { readonly delimiter: string; readonly maxRecordBytes: number },
): AsyncGenerator<string, void> {
  let columns: (TreatedColumn | undefined)[] | undefined;
  for await (const batch of csvRecords(input, options)) {
    if ("verbatim" in batch) {
      yield batch.verbatim;
      continue;
    }
    let output = "";
    for (const record of batch) {
      if (columns === undefined) {
        columns = columnsOf(record, plan);
        output += record.lead + assembled(record, columns, options.delimiter, false);
      } else {
        plan.records += 1;
        output += record.lead + assembled(record, columns, options.delimiter, true);
      }
    }
    yield output;
  }
  // Without a header, every column that a rule names is missing.
  if (columns === undefined) columnsOf({ line: 1, lead: "", raw: "", fields: [], starts: [], ends: [] }, plan);
}

function columnsOf(header: CsvRecord, plan: Plan): (TreatedColumn | undefined)[] {
  const names = header.fields.map((field, column) => decode(field, `column ${column + 1} of the header`, header.line));
  const places = (name: string, optional: boolean): number[] => {
    const found = names.flatMap((candidate, column) => (candidate === name ? [column] : []));
    if (found.length === 0 && !optional)
      throw new DesensitizationError("missing_column", JSON.stringify(name), header.line);
    return found;
  };
  const columns: (TreatedColumn | undefined)[] = names.map(() => undefined);
  for (const { field, optional, treatment } of plan.targets) {
    // A name that the header repeats stands for each of its columns.
    const nameColumns = treatment.nameFields.flatMap((name) => places(name, optional));
    for (const column of places(field, optional)) columns[column] = { name: field, treatment, nameColumns };
  }
  if (columns.length > 0 && columns.every((column) => column?.treatment.drops))
    throw new DesensitizationError("rule_file", "every column of the input would be dropped");
  return columns;
}

function assembled(
  record: CsvRecord,
  columns: readonly (TreatedColumn | undefined)[],
  delimiter: string,
  treat: boolean,
): string {
  const { raw, fields, starts, ends } = record;
  let output = "";
  let kept = 0;
  for (let index = 0; index < fields.length; index++) {
    const column = columns[index];
    if (column?.treatment.drops) {
      // Only counted; what goes need not even be text.
      if (treat) column.treatment.apply(fields[index] ?? "", []);
      continue;
    }
    const original = raw.slice(starts[index], ends[index]);
    const result = column === undefined || !treat ? original : treated(record, index, column, original, delimiter);
    output += kept === 0 ? result : delimiter + result;
    kept += 1;
  }
  // One empty field alone would be an empty line, which is no record.
  if (output === "") output = '""';
  return output + raw.slice(ends[fields.length - 1]);
}

function treated(
  record: CsvRecord,
  index: number,
  { name, treatment, nameColumns }: TreatedColumn,
  original: string,
  delimiter: string,
): string {
  const value = decode(record.fields[index] ?? "", `column ${JSON.stringify(name)}`, record.line);
  const names = nameColumns.map((column) =>
    decode(record.fields[column] ?? "", `column ${column + 1}, which holds names`, record.line),
  );
  const result = treatment.apply(value, names) ?? "";
  if (result === value) return original;
  const bytes = encode(result);
  const quoted = original.startsWith('"') || /["\r\n]/.test(bytes) || bytes.includes(delimiter);
  return quoted ? `"${bytes.replaceAll('"', '""')}"` : bytes;
}
