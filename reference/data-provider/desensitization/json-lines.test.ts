import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DesensitizationError } from "./desensitization-error.ts";
import { type DesensitizeOptions, desensitize } from "./desensitize.ts";
import { run, runText } from "./desensitize-fixture.ts";
import type { Rule } from "./rules.ts";

const jsonl = (text: string, rules: Rule[], options: Partial<DesensitizeOptions> = {}) =>
  runText(text, rules, { format: "jsonl", ...options });
const mask = (...paths: string[]): Rule[] => [{ paths, optional: true, action: "mask" }];
const drop = (...paths: string[]): Rule[] => [{ paths, optional: true, action: "drop" }];

describe("JSON Lines: what no rule touches stays byte for byte", () => {
  test("any spelling, duplicate members and blanks included, whatever the pieces", async () => {
    const blank = fc.constantFrom("", " ", "\t", "  ");
    const scalar = fc.constantFrom(
      "1.0",
      "1e3",
      "-0",
      "true",
      "null",
      '"\\u00e9\\/"',
      '"a,]}\\\\"',
      '"\xc3\xa9\xff"',
      '""',
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof({ maxDepth: 3 }, scalar, tie("array"), tie("object")),
      array: fc
        .tuple(fc.array(fc.tuple(blank, tie("value"), blank), { maxLength: 3 }), blank)
        .map(([items, inside]) =>
          items.length === 0 ? `[${inside}]` : `[${items.map((item) => item.join("")).join(",")}]`,
        ),
      object: fc
        .tuple(
          fc.array(fc.tuple(blank, fc.constantFrom("b", "c", "\\u0063", "d\\\\"), blank, blank, tie("value"), blank)),
          blank,
        )
        .map(([members, inside]) =>
          members.length === 0
            ? `{${inside}}`
            : `{${members.map(([b1, k, b2, b3, v, b4]) => `${b1}"${k}"${b2}:${b3}${v}${b4}`).join(",")}}`,
        ),
    }));
    const member = fc.tuple(fc.constantFrom("secret", "s\\u0065cret", "open", "o2"), blank, value);
    const line = fc.tuple(blank, fc.array(member, { maxLength: 4 }), blank, fc.constantFrom("\n", "\r\n", "\n\n"));
    const input = fc.tuple(fc.constantFrom("", "\xef\xbb\xbf"), fc.array(line), fc.integer({ min: 1, max: 50 }));
    await fc.assert(
      fc.asyncProperty(input, async ([mark, lines, piece]) => {
        const written = (secret: string) =>
          mark +
          lines
            .map(([before, members, after, end]) => {
              const parts = members.map(([name, between, v]) =>
                name.endsWith("cret")
                  ? `${between}"${name}":${between}${secret}`
                  : `"${name}":${between}${v as string}`,
              );
              return `${before}{${parts.join(",")}${after}}${end}`;
            })
            .join("");
        const { output } = await run(
          Buffer.from(written('"\\u0041b"'), "latin1"),
          mask("$.secret"),
          { format: "jsonl" },
          piece,
        );
        expect(output.toString("latin1")).toBe(written('"**"'));
      }),
      { numRuns: 300, seed: 3 },
    );
  });
});

describe("JSON Lines: paths", () => {
  test.each([
    ['{"a":{"b":"xy"},"b":"xy"}', mask("$.a.b"), '{"a":{"b":"**"},"b":"xy"}'],
    ['{"a":["xy",1,null,"z"]}', mask("$.a[*]"), '{"a":["**","*",null,"*"]}'],
    ['{"a":[{"b":"x"},{"c":"y"},3]}', mask("$.a[*].b"), '{"a":[{"b":"*"},{"c":"y"},3]}'],
    ['{"full name":"x","it\'s":"y"}', mask("$['full name']", "$['it\\'s']"), '{"full name":"*","it\'s":"*"}'],
    ['{"größe":"x","a-b":"y"}', mask("$.größe", "$.a-b"), '{"größe":"*","a-b":"*"}'],
    ['{"a":1,"a":"xy"}', mask("$.a"), '{"a":"*","a":"**"}'],
    ['"xy"', mask("$"), '"**"'],
    ['["xy"]', mask("$[*]"), '["**"]'],
    ['{"__proto__":"x","a":true}', mask("$.__proto__"), '{"__proto__":"*","a":true}'],
    ['{"a":"\\ud83d\\ude42é"}', mask("$.a"), '{"a":"**"}'],
    ['{"a":null,"b":[]}', mask("$.a"), '{"a":null,"b":[]}'],
  ] as const)("%s", async (text, rules, expected) => expect((await jsonl(text, [...rules])).text).toBe(expected));

  test.each([
    ['{"a":1, "b":2, "c":3}', ["$.a"], '{"b":2, "c":3}'],
    ['{"a":1, "b":2, "c":3}', ["$.b"], '{"a":1, "c":3}'],
    ['{"a":1, "b":2, "c":3 }', ["$.c"], '{"a":1, "b":2 }'],
    ['{"a":1, "b":2, "c":3}', ["$.b", "$.c"], '{"a":1}'],
    ['{"a":1, "b":2, "c":3}', ["$.a", "$.c"], '{"b":2}'],
    ['{ "a":1, "b":2 }', ["$.a", "$.b"], "{  }"],
    ['{"a":{"x":1},"b":[1,{"a":2}]}', ["$.a", "$.b[*].a"], '{"b":[1,{}]}'],
    ['{"a":[1, 2 ,3]}', ["$.a[*]"], '{"a":[]}'],
    ['{"a":1,"b":0,"a":null}', ["$.a"], '{"b":0}'],
  ] as const)("drop takes members and their commas: %s %j", async (text, paths, expected) => {
    const { text: output } = await jsonl(text, drop(...paths));
    expect(output).toBe(expected);
    JSON.parse(output);
  });

  test("names from another path, and generalized numbers as text", async () => {
    const rules: Rule[] = [
      { paths: ["$.who.name"], action: "drop" },
      { paths: ["$.usage"], action: "generalize", width: 100 },
      { paths: ["$.notes[*]"], detect: [{ kind: "name", paths: ["$.who.name"], action: "drop" }] },
    ];
    const text =
      '{"usage":1.2e2,"notes":["Ott rang","ok"],"who":{"name":"Anna Ott"}}\n{"usage":"n/a","notes":[],"who":{}}';
    const { text: output, report } = await jsonl(text, rules);
    expect(output).toBe(
      '{"usage":"100..<200","notes":["[name] rang","ok"],"who":{}}\n{"usage":null,"notes":[],"who":{}}',
    );
    expect(report.records).toBe(2);
    expect(report.fields.map(({ field, values, changed, blanked }) => [field, values, changed, blanked])).toEqual([
      ["$.who.name", 1, 1, 0],
      ["$.usage", 2, 2, 1],
      ["$.notes[*]", 2, 1, 0],
    ]);
  });

  test.each([
    ["a", "begins with $"],
    ["$.", "character 2"],
    ["$..a", "character 2"],
    ["$.a[0]", "character 4"],
    ["$['a", "character 2"],
    ["$.a.*", "character 4"],
  ])("refuses %s", (path, place) => {
    const rules = { version: 1, rules: mask(path) } as const;
    const begin = () => desensitize((async function* () {})(), rules, { format: "jsonl" });
    expect(begin).toThrow(place);
    expect(begin).toThrow(DesensitizationError);
  });

  test.each([
    [["$.a", "$.a.b"], "lies inside $.a"],
    [["$"], "cannot be dropped"],
  ])("refuses %j together", (paths, what) => {
    const rules = { version: 1, rules: drop(...paths) } as const;
    expect(() => desensitize((async function* () {})(), rules, { format: "jsonl" })).toThrow(what);
  });
});

describe("JSON Lines: refusals name the place and no value", () => {
  const rules: Rule[] = [{ paths: ["$.a"], action: "mask" }];
  test.each([
    ["malformed_record", 2, '{"a":"x"}\n{"a":"secret\n', rules],
    ["malformed_record", 3, '{"a":"x"}\n\n{"a":secret}\n', rules],
    ["malformed_record", 1, `${"[".repeat(2000)}${"]".repeat(2000)}`, rules],
    ["unsuitable_value", 1, '{"a":{"b":"secret"}}', rules],
    ["unsuitable_value", 2, '{"a":1}\n{"a":["secret"]}', rules],
    ["unmatched_path", undefined, '{"b":"secret"}\n', rules],
    ["record_too_long", 2, `{"a":1}\n{"a":"${"secret".repeat(1000)}`, rules],
    ["record_too_long", 2, `{"a":1}\n{"a":"${"secret".repeat(1000)}"}\n{"a":1}`, rules],
    ["not_utf8", 1, '{"a":"secret\xff"}', rules],
    ["not_utf8", 1, '\xfe\xff\0{\0"', rules],
  ] as const)("%s, line %s", async (code, line, text, set) => {
    for (const piece of [1, 10_000]) {
      const error = await run(Buffer.from(text, "latin1"), set, { format: "jsonl", maxRecordBytes: 5000 }, piece).then(
        () => undefined,
        (reason) => reason,
      );
      expect(error).toBeInstanceOf(DesensitizationError);
      expect([error.code, error.line]).toEqual([code, line]);
      expect(`${error.message} ${error.stack}`).not.toContain("secret");
      expect(error.cause).toBeUndefined();
    }
  });

  test("no records at all match no path, and that is in order", async () => {
    expect((await jsonl("\n \n", rules)).text).toBe("\n \n");
    expect((await jsonl("", rules)).report.records).toBe(0);
  });
});

test("the report waits for the output, and fails with it", async () => {
  const begin = (text: string) =>
    desensitize(
      (async function* () {
        yield Buffer.from(text);
      })(),
      { version: 1, rules: mask("$.a") },
      { format: "jsonl" },
    );
  const failing = begin("{");
  await expect(
    (async () => {
      for await (const _ of failing.output);
    })(),
  ).rejects.toThrow(DesensitizationError);
  await expect(failing.report).rejects.toThrow(DesensitizationError);
  const left = begin('{"a":"x"}\n{"a":"x"}\n');
  for await (const _ of left.output) break;
  await expect(left.report).rejects.toThrow("not read to its end");
});
