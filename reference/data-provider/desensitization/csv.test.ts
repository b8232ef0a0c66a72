import { createSecretKey } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DesensitizationError } from "./desensitization-error.ts";
import { type DesensitizeOptions, desensitize } from "./desensitize.ts";
import { run, runText } from "./desensitize-fixture.ts";
import type { Rule } from "./rules.ts";

const csv = (text: string, rules: Rule[], options: Partial<DesensitizeOptions> & { delimiter?: string } = {}) =>
  runText(text, rules, { format: "csv", ...options });

describe("CSV: what no rule touches stays byte for byte", () => {
  // One field as it stands in a file: anything unquoted or quoted, bytes that are no UTF-8 included.
  const bytes = (alphabet: string) =>
    fc.array(fc.constantFrom(...alphabet), { maxLength: 8 }).map((list) => list.join(""));
  const plain = bytes("ab 1'\t;\0\xff\xe9");
  const inQuotes = bytes('ab ,\n\r"\xc3\xff').map((value) => `"${value.replaceAll('"', '""')}"`);
  const rawField = fc.oneof(plain, inQuotes);
  const lineEnd = fc.constantFrom("\n", "\r\n", "\r", "\n\n", "\r\n\r\n\n");

  test("any file, any pieces, one column masked, one dropped", async () => {
    const record = fc.tuple(rawField, rawField, rawField, rawField, lineEnd);
    const input = fc.record({
      mark: fc.constantFrom("", "\xef\xbb\xbf"),
      lead: fc.constantFrom("", "\n", "\r\n\n"),
      records: fc.array(record, { maxLength: 12 }),
      tail: fc.boolean(),
      piece: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(input, async ({ mark, lead, records, tail, piece }) => {
        const maskable = records.map(([a, b, c, d, end]) => [a, b, `"${c.replace(/[^ab 1]/g, "x")}"`, d, end] as const);
        const text = (parts: string[][]) =>
          parts.map((fields) => `${fields.slice(0, -1).join(",")}${fields.at(-1)}`).join("");
        const whole = (output: string) => (tail ? output : output.replace(/[\r\n]+$/, ""));
        const header = `${mark}${lead}`;
        const before = header + whole(text([["p", '"q"', "secret", "gone", "\r\n"], ...maskable.map((r) => [...r])]));
        const masked = (field: string) => `"${"*".repeat(field.length - 2)}"`;
        const after =
          header +
          whole(text([["p", '"q"', "secret", "\r\n"], ...maskable.map(([a, b, c, , end]) => [a, b, masked(c), end])]));
        const rules: Rule[] = [
          { columns: ["secret"], action: "mask" },
          { columns: ["gone"], action: "drop" },
        ];
        const { output } = await run(Buffer.from(before, "latin1"), rules, { format: "csv" }, piece);
        expect(output.toString("latin1")).toBe(after);
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  test("also where a rule looks and finds nothing", async () => {
    const text = 'a,"b"\r\n" x ""y"" ",1.0\r"no\nnumber","1e3 "';
    const rules: Rule[] = [{ columns: ["b"], detect: [{ kind: "card", action: "drop" }] }];
    expect((await csv(text, rules)).text).toBe(text);
  });
});

describe("CSV: actions", () => {
  test("drop takes header and fields, the first and the last column too", async () => {
    const rules: Rule[] = [{ columns: ["a", "c"], action: "drop" }];
    expect((await csv('a,b,"c"\n1,2,3\n"4","5",6\n', rules)).text).toBe('b\n2\n"5"\n');
  });

  test("a record of one empty field stays a record", async () => {
    const rules: Rule[] = [{ columns: ["a"], action: "drop" }];
    expect((await csv("a,b\n1,\n2,x\n", rules)).text).toBe('b\n""\nx\n');
  });

  test("mask counts characters, and hides all where too little would stay hidden", async () => {
    const rules: Rule[] = [{ columns: ["a"], action: "mask", keepFirst: 2, keepLast: 1, character: "#" }];
    expect((await csv("a\nGörlitz\nabc\nab\n🙂🙃é\n🙂🙃éa\n\n", rules)).text).toBe(
      "a\nGö####z\n###\n##\n###\n🙂🙃#a\n\n",
    );
  });

  test("pseudonyms are stable, per domain, and nothing without the key", async () => {
    const text = "a,b,c\nx,x,x\nx,y,x\n";
    const rules: Rule[] = [
      { columns: ["a", "b"], action: "pseudonymize", domain: "person", prefix: "p-", length: 16 },
      { columns: ["c"], action: "pseudonymize" },
    ];
    const { text: output } = await csv(text, rules);
    const [, [a1, b1, c1] = [], [a2, b2, c2] = []] = output.split("\n").map((line) => line.split(","));
    expect(a1).toMatch(/^p-[0-9a-f]{16}$/);
    expect(c1).toMatch(/^[0-9a-f]{32}$/);
    expect([a2, b1, c2]).toEqual([a1, a1, c1]);
    expect(b2).not.toBe(b1);
    expect(c1?.slice(0, 16)).not.toBe(a1?.slice(2));
    expect((await csv(text, rules)).text).toBe(output);
    const other = createSecretKey(Buffer.alloc(32, 9));
    expect((await csv(text, rules, { pseudonymizationKey: other })).text).not.toContain(a1);
    // HMAC-SHA-256 under 32 bytes 0x01 of "6:personx", computed by Python.
    expect(a1).toBe("p-2d52f7511bc6ec1d");
  });

  test.each([
    [{ date: "year" }, "1986-04-21", "1986"],
    [{ date: "month" }, "1986-04-21T10:00:00Z", "1986-04"],
    [{ date: "month", layout: "DD.MM.YYYY" }, "21.04.1986", "1986-04"],
    [{ date: "year" }, "21.04.1986", ""],
    [{ date: "year" }, "1986-13-01", ""],
    [{ width: 10 }, "37", "30..<40"],
    [{ width: 10 }, "-1", "-10..<0"],
    [{ width: 0.1 }, "0.35", "0.3..<0.4"],
    [{ width: 10 }, "3e1", "30..<40"],
    [{ width: 10 }, "many", ""],
    [{ width: 10 }, "0x1f", ""],
    [{ bounds: [0, 18, 65] }, "17.9", "0..<18"],
    [{ bounds: [0, 18, 65] }, "65", ">=65"],
    [{ bounds: [0, 18, 65] }, "-0.5", "<0"],
    [{ prefix: 2 }, "69117", "69"],
    [{ prefix: 9 }, "69117", "69117"],
  ] as const)("generalize %j: %s becomes %j", async (manner, value, expected) => {
    const { text, report } = await csv(`a,b\n"${value}",1\n`, [{ columns: ["a"], action: "generalize", ...manner }]);
    expect(text).toBe(`a,b\n"${expected}",1\n`);
    expect(report.fields[0]?.blanked).toBe(expected === "" ? 1 : 0);
  });

  test("a new value is quoted where it was, and where it must be", async () => {
    const rules: Rule[] = [{ columns: ["a"], detect: [{ kind: "card", action: "drop", replacement: 'x;"y"' }] }];
    const { text } = await csv("a;b\n4111111111111111;1\n", rules, { delimiter: ";" });
    expect(text).toBe('a;b\n"x;""y""";1\n');
  });

  test("free text: each kind, overlaps included, only what is found", async () => {
    const rules: Rule[] = [
      {
        columns: ["note"],
        detect: [
          { kind: "card", action: "mask", keepLast: 4 },
          { kind: "email", action: "drop" },
          { kind: "phone", country: "DE", action: "drop", replacement: "<tel>" },
          { kind: "name", columns: ["name"], action: "drop" },
        ],
      },
    ];
    const note = `""Anna"" +49 151 23456789, 0151/23456789;\n4111 1111 1111 1111 is anna.ott@example.com's`;
    const { text, report } = await csv(`name,note\nAnna Ott,"${note}"\n,"${note}"\n`, rules);
    const treated = "+t, <tel>;\n***************1111 is [email]'s".replace("+t", "<tel>");
    expect(text).toBe(`name,note\nAnna Ott,"""[name]"" ${treated}"\n,"""Anna"" ${treated}"\n`);
    expect(report.fields[0]?.matches).toEqual({ card: 2, email: 2, phone: 4, name: 1 });
  });
});

describe("CSV: the report", () => {
  test("counts by rule and column", async () => {
    const rules: Rule[] = [
      { columns: ["a"], action: "drop" },
      { columns: ["b", "c"], action: "generalize", width: 5 },
      { columns: ["none"], optional: true, action: "drop" },
    ];
    const { report } = await csv("a,b,c\n1,2,x\n,3,\n", rules);
    const row = { values: 0, changed: 0, blanked: 0, matches: {} };
    expect(report).toEqual({
      format: "csv",
      records: 2,
      fields: [
        { ...row, rule: 0, field: "a", action: "drop", values: 1, changed: 1 },
        { ...row, rule: 1, field: "b", action: "generalize", values: 2, changed: 2 },
        { ...row, rule: 1, field: "c", action: "generalize", values: 1, changed: 1, blanked: 1 },
        { ...row, rule: 2, field: "none", action: "drop" },
      ],
    });
  });
});

describe("CSV: refusals name the place and no value", () => {
  const drop: Rule[] = [{ columns: ["a"], action: "mask" }];
  test.each([
    ["missing_column", 1, "b,c\nsecret,2\n", drop],
    ["missing_column", 1, "", drop],
    ["malformed_record", 3, "a,b\nsecret,2\nsecret\n", drop],
    ["malformed_record", 5, 'a,b\n"secret\n\n",2\nse"cret,2\n', drop],
    ["malformed_record", 4, 'a,b\n"x",2\n\n"secret" 2,3\n', drop],
    ["malformed_record", 3, 'a,b\n1,2\n"secret,2\n3,4\n', drop],
    ["record_too_long", 2, `a,b\n${"secret".repeat(200)},2\n`, drop],
    ["record_too_long", 2, `a,b\n"${"secret\n".repeat(200)}`, drop],
    ["not_utf8", 2, "a,b\nsecret\xff,2\n", drop],
    ["not_utf8", 1, "\xff\xfea\0,\0b\0", drop],
    ["rule_file", undefined, "a\nsecret\n", [{ columns: ["a"], action: "drop" }]],
  ] as const)("%s, line %s", async (code, line, text, rules) => {
    for (const piece of [1, 1000]) {
      const error = await run(Buffer.from(text, "latin1"), rules, { format: "csv", maxRecordBytes: 1000 }, piece).then(
        () => undefined,
        (reason) => reason,
      );
      expect(error).toBeInstanceOf(DesensitizationError);
      expect([error.code, error.line]).toEqual([code, line]);
      expect(`${error.message} ${error.stack}`).not.toContain("secret");
      expect(error.cause).toBeUndefined();
    }
  });

  test("rules without columns are refused at once", () => {
    const rules = { version: 1, rules: [{ paths: ["$.a"], action: "drop" }] } as const;
    const begin = () => desensitize((async function* () {})(), rules, { format: "csv" });
    expect(begin).toThrow("rules[0]: columns are needed for csv");
  });

  test("empty lines without end are bounded too", async () => {
    const text = `a\n${"\n".repeat(400_000)}`;
    await expect(csv(text, drop, { maxRecordBytes: 1000 })).rejects.toMatchObject({ code: "record_too_long" });
  });
});
