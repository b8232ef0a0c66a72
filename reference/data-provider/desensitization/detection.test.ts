import { describe, expect, test } from "vitest";
import { cardNumbers, emailAddresses, luhn, namesInText, phoneNumbers, type Span } from "./detection.ts";

describe("card numbers", () => {
  test.each([
    ["card 4111111111111111 declined", ["4111111111111111"]],
    ["card 4111 1111 1111 1111.", ["4111 1111 1111 1111"]],
    ["4111-1111-1111-1111 and 5105105105105100", ["4111-1111-1111-1111", "5105105105105100"]],
    ["Amex 3782 822463 10005", ["3782 822463 10005"]],
    ["13 digits: 4222222222222", ["4222222222222"]],
    ["19 digits: 6304000000000000000", ["6304000000000000000"]],
    ["a number of other digits behind: 4111111111111111 123", ["4111111111111111"]],
    ["and before: 99 4111 1111 1111 1111", ["4111 1111 1111 1111"]],
  ])("%s", (text, expected) => expect(cut(text, cardNumbers(text))).toEqual(expected));

  test.each([
    "4111111111111112",
    "411111111111",
    "ICCID 8949020000123456783",
    "41111111111111110000000",
    "4111  1111  1111  1111",
    "2024-01-10 12:30:45 4711",
  ])("none in: %s", (text) => expect(cardNumbers(text)).toEqual([]));

  test("the check digit", () => {
    expect(luhn([7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 3])).toBe(true);
    expect(luhn([7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 4])).toBe(false);
  });
});

describe("e-mail addresses", () => {
  test.each([
    ["write to jane.doe+x@mail.example.com, please", ["jane.doe+x@mail.example.com"]],
    ["<a@b.de>;c@d.org.", ["a@b.de", "c@d.org"]],
    ["müller@exämple.com", ["müller@exämple.com"]],
    [`${"a".repeat(100)}@example.com`, [`${"a".repeat(100)}@example.com`]],
    [`a@${"sub.".repeat(40)}example.com`, [`a@${"sub.".repeat(40)}example.com`]],
  ])("%s", (text, expected) => expect(cut(text, emailAddresses(text))).toEqual(expected));

  test.each(["@home", "user@localhost", "3 @ 4.50", "a@1.2"])("none in: %s", (text) =>
    expect(emailAddresses(text)).toEqual([]),
  );

  test("takes linear time where a naive expression takes quadratic", () => {
    const begun = performance.now();
    expect(emailAddresses("a".repeat(1_000_000))).toEqual([]);
    expect(emailAddresses("a@".repeat(200_000))).toEqual([]);
    expect(performance.now() - begun).toBeLessThan(5000);
  });
});

describe("phone numbers", () => {
  test.each([
    ["call +49 151 23456789 after six", undefined, ["+49 151 23456789"]],
    ["call +4915123456789", undefined, ["+4915123456789"]],
    ["unassigned: +999 12345678", undefined, ["+999 12345678"]],
    ["call 0151 23456789, ok", "DE", ["0151 23456789"]],
    ["call (415) 555-2671 now", "US", ["(415) 555-2671"]],
    ["＋49 151 23456789", undefined, ["＋49 151 23456789"]],
  ] as const)("%s (%s)", (text, country, expected) =>
    expect(new Set(cut(text, phoneNumbers(text, country)))).toEqual(new Set(expected)),
  );

  test.each([
    ["call 0151 23456789", undefined],
    ["ticket 20231, 14 days", "DE"],
    ["card 4111 1111 1111 1111", "DE"],
  ] as const)("none in: %s (%s)", (text, country) => expect(phoneNumbers(text, country)).toEqual([]));
});

describe("names known from the record", () => {
  test.each([
    ["Mr Schäfer called", ["Jürgen Schäfer"], ["Schäfer"]],
    ["JÜRGEN SCHÄFER called", ["Jürgen Schäfer"], ["JÜRGEN SCHÄFER"]],
    ["asked by Hwang, Minjun.", ["Hwang, Minjun"], ["Hwang, Minjun"]],
    ["Ursula von der Leyen's", ["Ursula von der Leyen"], ["Ursula von der Leyen"]],
    ["von Berlin to Leyen", ["Ursula von der Leyen"], ["Leyen"]],
    ["O'Connor and d'Aubigny", ["Rhys O'Connor", "Jean d'Aubigny"], ["O'Connor", "d'Aubigny"]],
    ["Jean-Luc wrote", ["Jean-Luc Moreau"], ["Jean-Luc"]],
    ["田中 様", ["田中 太郎"], ["田中"]],
  ])("%s", (text, names, expected) => expect(cut(text, namesInText(text, names))).toEqual(expected));

  test.each([
    ["Hannover", ["Hanno Ver"]],
    ["de la carte", ["Maria de la Cruz"]],
    ["plan B", ["B. Ott"]],
    ["anything", []],
  ])("none in: %s", (text, names) => expect(namesInText(text, names)).toEqual([]));
});

function cut(text: string, spans: Span[]): string[] {
  return spans.map(({ start, end }) => text.slice(start, end));
}
