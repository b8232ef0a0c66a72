import { Command, CommanderError } from "commander";
import { describe, expect, test } from "vitest";
import { addOfferOptions, changeOf, type OfferOptions, offerOf } from "./offer-options.ts";

function parse(args: readonly string[], publishing = true): OfferOptions {
  const command = new Command("verb").exitOverride().configureOutput({ writeErr: () => {} });
  addOfferOptions(command, { publishing }).parse([...args], { from: "user" });
  return command.opts();
}

const offered = (...args: string[]) => offerOf(parse(args), "text/csv");

test("without options one access within a day is offered to everyone", () => {
  const { permission, attributes, allowed } = offered();
  expect(permission).toMatchObject({ accessTimes: 1, readOnly: false });
  const hours = ((permission?.expiration.getTime() ?? 0) - Date.now()) / 3_600_000;
  expect(Math.round(hours)).toBe(24);
  expect(attributes).toMatchObject({ category: "uncategorized", mediaType: "text/csv" });
  expect(allowed).toBeUndefined();
});

test("every option arrives", () => {
  const offer = offered(
    ...[
      "--times",
      "3",
      "--expires",
      "2d",
      "--read-only",
      "--category",
      "records",
      "--introduction",
      "i",
      "--usage",
      "u",
    ],
    ...["--keyword", "a", "--keyword", "b", "--industry", "isic:j61", "--country", "CH", "--country", "DE"],
    ...["--user", "urn:x1410:user:consumer", "--price", "EUR 1.50", "--media-type", "text/plain", "--terms", "t"],
    ...["--valid-until", "2999-01-01"],
  );
  expect(offer).toMatchObject({
    attributes: {
      category: "records",
      introduction: "i",
      usage: "u",
      keywords: ["a", "b"],
      mediaType: "text/plain",
      price: { currency: "EUR", amountMicros: 1_500_000n },
    },
    allowed: { industries: ["isic:j61"], countries: ["CH", "DE"], users: ["urn:x1410:user:consumer"] },
    permission: { accessTimes: 3, readOnly: true },
    policy: { terms: "t", validUntil: { seconds: 32_472_144_000n } },
  });
});

test("without a permission there is none, and limits of one are refused", () => {
  expect(offered("--no-permission").permission).toBeUndefined();
  expect(() => offered("--no-permission", "--times", "2")).toThrow(/--no-permission/);
});

describe("a value that makes no sense is refused with what would", () => {
  test.each([
    ["--times", "0", /1 to 1000000/],
    ["--times", "many", /1 to 1000000/],
    ["--expires", "yesterday", /24h/],
    ["--expires", "2001-01-01", /to come/],
    ["--price", "1.50", /EUR 1\.50/],
    ["--country", "Switzerland", /ISO 3166-1 alpha-2/],
    ["--country", "ch", /ISO 3166-1 alpha-2/],
    ["--industry", "Telecoms", /isic:j61/],
    ["--user", "alice", /urn:x1410:user:alice/],
  ])("%s %s", (option, value, expected) => {
    expect(() => parse([option, value])).toThrow(CommanderError);
    expect(() => parse([option, value])).toThrow(expected);
  });
});

describe("a change", () => {
  test("holds only what was named", () => {
    expect(changeOf(parse(["--times", "4"], false))).toEqual({ permission: { accessTimes: 4 } });
    expect(changeOf(parse(["--no-read-only"], false))).toEqual({ permission: { readOnly: false } });
    expect(changeOf(parse(["--country", "CH"], false))).toEqual({ allowed: { countries: ["CH"] } });
  });

  test("of nothing is refused", () => {
    expect(() => changeOf(parse([], false))).toThrow(/nothing to change/);
  });
});

test.each([
  [["--media-type", "csv"], /give a media type/],
  [["--media-type", "text/"], /give a media type/],
  [["--country", "XX"], /give a country/],
  [["--country", "ch"], /give a country/],
])("%j is refused", (args, message) => {
  const wrong = () => parse(args);
  expect(wrong).toThrow(CommanderError);
  expect(wrong).toThrow(message);
});

test("a permission that would outlive its policy is refused, one that ends with it is not", () => {
  expect(() => offered("--valid-until", "2999-01-01", "--expires", "2999-01-02")).toThrow(/give an earlier --expires/);
  const { permission } = offered("--valid-until", "2999-01-01", "--expires", "2999-01-01");
  expect(permission?.expiration).toEqual(new Date("2999-01-01"));
});
