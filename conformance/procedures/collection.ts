// F3.1 and A1.1: the kit's provider collects subscriber records and desensitizes them.
import { desensitize } from "../../reference/data-provider/desensitization/desensitize.ts";
import { valuesIn } from "../canary-scan.ts";
import type { Seen } from "../roles/user.ts";
import { expect } from "./procedure.ts";
import { canaries, subscriberRules } from "./subscriber-records.ts";

const collections = new WeakMap<Uint8Array, Promise<Uint8Array>>();

/** Desensitizes the records; none of the names, phone numbers, card numbers and e-mail addresses that were there is left. */
export async function desensitized(records: Uint8Array, seen: Seen): Promise<Uint8Array> {
  const { data, count } = await treat(records);
  const left = valuesIn(data, canaries(records));
  expect(left.length === 0, `no personal value of the raw data in the result (${left.length} are left)`);
  seen(
    `by the kit: ${count} records, ${data.length} bytes; none of the names, phone, card numbers and e-mail addresses is left`,
  );
  collections.set(records, Promise.resolve(data));
  return data;
}

/** The desensitized records as a state to start from; worked out once for all procedures of a run. */
export function alreadyDesensitized(records: Uint8Array): Promise<Uint8Array> {
  const known = collections.get(records) ?? treat(records).then(({ data }) => data);
  collections.set(records, known);
  return known;
}

async function treat(records: Uint8Array): Promise<{ data: Uint8Array; count: number }> {
  const { output, report } = desensitize(
    (async function* () {
      yield records;
    })(),
    subscriberRules,
    { format: "csv" },
  );
  const parts: Uint8Array[] = [];
  for await (const part of output) parts.push(part);
  return { data: Buffer.concat(parts), count: (await report).records };
}
