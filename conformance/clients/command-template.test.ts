import { expect, test } from "vitest";
import { clientCommands, environmentOf, filled, referenceCommands } from "./command-template.ts";

test("placeholders are filled, and quoted for a shell where they have to be", () => {
  const values = { contract: "x1410://dlt.local/contracts/00", text: "it's two words", output: "/tmp/a-b_c.d" };
  expect(filled("get {contract} {output}", values)).toBe("get x1410://dlt.local/contracts/00 /tmp/a-b_c.d");
  expect(filled("find {text}", values)).toBe("find 'it'\\''s two words'");
});

test.each([
  ["get {contarct}", /\{contarct\} is no placeholder; there are management,/],
  ["get {policy}", /\{policy\} has no value in this command/],
] as const)("%s is refused", (template, message) => {
  expect(() => filled(template, { contract: "x" })).toThrow(message);
});

test("the environment has the same values", () => {
  expect(environmentOf({ managementIdentity: "urn:a", input: "f" })).toEqual({
    X1410_MANAGEMENT_IDENTITY: "urn:a",
    X1410_INPUT: "f",
  });
});

test.each(["dp", "dc"] as const)("the reference's %s has every command", (role) => {
  expect(Object.keys(referenceCommands(role))).toEqual(Object.keys(clientCommands[role]));
});
