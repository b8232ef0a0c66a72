import { expect, test } from "vitest";
import { campaign } from "../tools/seeded-share.ts";
import { definingText, drift, freeze, frozen, frozenDigest } from "./frozen-suite.ts";
import type { Purpose } from "./purposes/purpose.ts";
import { profile, purposes, recommendation, suiteVersion } from "./suite.ts";

const [first, second, ...others] = purposes as [Purpose, Purpose, ...Purpose[]];
const list = freeze("1", purposes);

test("the frozen lists are those of this revision, each whole, each version once", () => {
  expect(frozen).toMatchObject({ format: "x1410-frozen-suite/1", recommendation, profile });
  const versions = frozen.versions.map(({ version }) => version);
  expect(new Set(versions).size).toBe(versions.length);
  for (const { purposes: digests } of frozen.versions)
    for (const digest of Object.values(digests)) expect(digest).toMatch(/^[0-9a-f]{64}$/);
});

test("no purpose of this version has vanished or changed since it was frozen", () => {
  const current = frozen.versions.find(({ version }) => version === suiteVersion);
  expect(current, `suite ${suiteVersion} is not frozen: npm run suite:freeze`).toBeDefined();
  if (current === undefined) return;
  const { vanished, changed, added } = drift(current, purposes);
  expect([vanished, changed], "raise suiteVersion, then npm run suite:freeze").toEqual([[], []]);
  // What is added is no part of the version before it is frozen: at the latest for a campaign.
  if (campaign) expect(added).toEqual([]);
});

test("drift names what vanished, what asks something else, and what was added", () => {
  const altered: Purpose = { ...second, stimulus: `${second.stimulus}, twice` };
  expect(drift(list, purposes)).toEqual({ vanished: [], changed: [], added: [] });
  expect(drift(list, [altered, ...others])).toEqual({ vanished: [first.id], changed: [second.id], added: [] });
  expect(drift(freeze("1", [second, ...others]), purposes).added).toEqual([first.id]);
});

test.each<Partial<Purpose>>([
  { title: "another" },
  { clause: "9.9" },
  { steps: ["F3.1"] },
  { requires: ["PSK"] },
  { forbids: ["PSK"] },
  { involves: ["dss"] },
  { expected: "another" },
  { twin: "another" },
])("%j defines a purpose", (change) => {
  expect(definingText({ ...first, ...change })).not.toBe(definingText(first));
});

test("how it checks and what it hints at do not", () => {
  const same = { ...first, likelyMistake: "another", budgetSeconds: 5, run: async () => {}, diagram: [] };
  expect(definingText(same)).toBe(definingText(first));
});

test("a suite in another order has the same digest, one with another purpose none that is frozen", () => {
  expect(freeze("1", [...others, second, first]).sha256).toBe(list.sha256);
  expect(freeze("1", [second, ...others]).sha256).not.toBe(list.sha256);
  expect(frozenDigest(suiteVersion, [second, ...others])).toBe("");
  expect(frozenDigest("0.0.0", purposes)).toBe("");
});
