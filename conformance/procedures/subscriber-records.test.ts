import { createHash } from "node:crypto";
import { parse } from "csv-parse/sync";
import { isValidPhoneNumber } from "libphonenumber-js/max";
import { expect, test } from "vitest";
import { desensitize } from "../../reference/data-provider/desensitization/desensitize.ts";
import { luhn } from "../../reference/data-provider/desensitization/detection.ts";
import { canaries, type SUBSCRIBER_COLUMNS, subscriberRecords, subscriberRules } from "./subscriber-records.ts";

const raw = subscriberRecords({ seed: "1", bytes: 120_000 });
const records = parse(Buffer.from(raw), { columns: true }) as Record<(typeof SUBSCRIBER_COLUMNS)[number], string>[];

test("the same for the same seed, about as large as asked", () => {
  expect(raw.length).toBeGreaterThanOrEqual(120_000);
  expect(raw.length).toBeLessThan(121_000);
  expect(Buffer.from(subscriberRecords({ seed: "1", bytes: 120_000 })).equals(raw)).toBe(true);
  expect(Buffer.from(subscriberRecords({ seed: "2", bytes: 120_000 })).equals(raw)).toBe(false);
  // Other platforms and versions make these bytes too.
  const digest = createHash("sha256")
    .update(subscriberRecords({ seed: "1", bytes: 5000 }))
    .digest("hex");
  expect(digest).toBe("adfc03ca251afe9bd7dc8308b00d1880fa9b57d44d8977eae49d6827f55fd0bf");
});

test("numbers are those of their numbering plans, cards have their check digit, ids are unique", () => {
  const wrong = records.filter(({ msisdn }) => !isValidPhoneNumber(msisdn));
  expect(wrong.map(({ msisdn }) => msisdn)).toEqual([]);
  for (const { card_number } of records)
    expect(card_number.length === 16 && luhn([...card_number].map(Number))).toBe(true);
  for (const column of ["subscriber_id", "email"] as const)
    expect(new Set(records.map((record) => record[column])).size).toBe(records.length);
});

test("has what makes CSV hard, and notes with personal data", () => {
  const notes = records.map(({ support_note }) => support_note);
  expect(notes.some((note) => note.includes("\n"))).toBe(true);
  expect(notes.some((note) => note.includes('"') && note.includes(","))).toBe(true);
  expect(records.some(({ full_name }) => full_name.includes(","))).toBe(true);
  const values = canaries(raw);
  const mentioning = notes.filter((note) => values.some((value) => note.includes(value)));
  expect(mentioning.length / notes.length).toBeGreaterThan(0.1);
});

test("by its rules nothing personal is left, and what has no rule is as before", async () => {
  const { output, report } = desensitize(
    (async function* () {
      yield raw;
    })(),
    subscriberRules,
    { format: "csv" },
  );
  const parts: Uint8Array[] = [];
  for await (const part of output) parts.push(part);
  const text = Buffer.concat(parts).toString();
  const values = canaries(raw);
  expect(values.length).toBeGreaterThan(records.length * 4);
  expect(values.filter((value) => !Buffer.from(raw).includes(value) && !value.includes(","))).toEqual([]);
  expect(values.filter((value) => text.includes(value))).toEqual([]);
  const after = parse(text, { columns: true }) as Record<string, string>[];
  expect(after).toHaveLength(records.length);
  for (const column of ["country", "plan", "roaming"] as const)
    expect(after.map((record) => record[column])).toEqual(records.map((record) => record[column]));
  const { fields } = await report;
  expect(fields.map(({ blanked }) => blanked).every((count) => count === 0)).toBe(true);
  const matches = fields.at(-1)?.matches ?? {};
  for (const kind of ["card", "email", "phone", "name"] as const) expect(matches[kind]).toBeGreaterThan(5);
});
