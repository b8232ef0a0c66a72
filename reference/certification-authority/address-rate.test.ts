import { expect, test } from "vitest";
import { AddressRate } from "./address-rate.ts";

test("each address has its own count, anew every second", () => {
  let now = 0;
  const rate = new AddressRate(2, () => now);
  const ask = (address: string) => rate.admits(address);
  expect(["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"].map(ask)).toEqual([true, true, false, true]);
  now = 999;
  expect(ask("192.0.2.1")).toBe(false);
  now = 1000;
  expect(ask("192.0.2.1")).toBe(true);
});

test.each([
  ["an IPv4 address, however written", ["192.0.2.1", "::ffff:192.0.2.1"], "192.0.2.2"],
  ["a /64 of IPv6", ["2001:db8::1", "2001:db8::ff:1:2:3"], "2001:db8:0:1::1"],
  ["a link-local /64", ["fe80::1%eth0", "fe80::2"], "2001:db8::1"],
  ["the loopback of IPv6", ["::1", "::2"], "1::1"],
])("%s counts as one", (_, [first = "", second = ""], other) => {
  const rate = new AddressRate(1, () => 0);
  expect([first, second, other].map((address) => rate.admits(address))).toEqual([true, false, true]);
});
