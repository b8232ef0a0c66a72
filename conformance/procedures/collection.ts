// F3.1 and A1.1: the kit's provider collects subscriber records and desensitizes them.
import { desensitize } from "../../reference/data-provider/desensitization/desensitize.ts";
import { valuesIn } from "../canary-scan.ts";
import type { Seen } from "../roles/user.ts";
import { expect } from "./procedure.ts";
import { canaries, subscriberRules } from "./subscriber-records.ts";

/** The records without names, phone numbers, card numbers and e-mail addresses; none of those that were there is left. */
export async function desensitized(records: Uint8Array, seen: Seen = () => {}): Promise<Uint8Array> {
  const { output, report } = desensitize(
    (async function* () {
      yield records;
    })(),
    subscriberRules,
    { format: "csv" },
  );
  const parts: Uint8Array[] = [];
  for await (const part of output) parts.push(part);
  const data = Buffer.concat(parts);
  const { records: count } = await report;
  const left = valuesIn(data, canaries(records));
  expect(left.length === 0, `no personal value of the raw data in the result (${left.length} are left)`);
  seen(`${count} records, ${data.length} bytes; none of the names, phone, card numbers and e-mail addresses is left`);
  return data;
}
