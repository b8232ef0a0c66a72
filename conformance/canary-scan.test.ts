import { expect, test } from "vitest";
import { valuesIn } from "./canary-scan.ts";

const data = Buffer.from("id,naïve Zoë,+41441234567\nabc");

test("finds values wherever they stand, of any length, in UTF-8", () => {
  expect(valuesIn(data, ["id", "Zoë", "+41441234567", "abc"]).sort()).toEqual(["+41441234567", "Zoë", "abc", "id"]);
});

test("finds nothing that is not there whole", () => {
  expect(valuesIn(data, ["+414412345678", "abcd", "zoë", ""])).toEqual([]);
  expect(valuesIn(data, [])).toEqual([]);
});
