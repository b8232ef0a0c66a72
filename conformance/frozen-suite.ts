// Frozen lists of purposes: for each version of the suite, which purposes it has and what each asks, by a digest of its defining text. Two
// laboratories with the same frozen list have asked the same. A purpose that asks something else, or is no longer there, needs a new version.
import { createHash } from "node:crypto";
import frozenLists from "./frozen/x.1410-2023-03.x1410.v1.json" with { type: "json" };
import type { Purpose } from "./purposes/purpose.ts";
import { expectationText } from "./refusal.ts";

/** One version of the suite, as it was frozen. */
export interface FrozenSuite {
  readonly version: string;
  /** Over all lines "id TAB digest LF", sorted; lower-case hexadecimal. */
  readonly sha256: string;
  /** SHA-256 of the defining text by id, lower-case hexadecimal. */
  readonly purposes: Readonly<Record<string, string>>;
}

/** All versions of one revision of the Recommendation and of the profile, oldest first. */
export interface FrozenLists {
  readonly format: "x1410-frozen-suite/1";
  readonly recommendation: string;
  readonly profile: string;
  readonly versions: readonly FrozenSuite[];
}

/** Of the revision that this kit tests. A further revision gets a file of its own. */
export const frozen = frozenLists as unknown as FrozenLists;

/** What a purpose asks, and of whom; not how its check does it, nor hints for those who fail. */
export function definingText(purpose: Purpose): string {
  const { id, title, clause, steps, capabilities, methods, requires, forbids, tester, involves, commands } = purpose;
  const { initialState, stimulus, expected, twin = "" } = purpose;
  const selection = { clause, steps, capabilities, methods, requires, forbids, tester, involves, commands };
  return JSON.stringify({ id, title, ...selection, initialState, stimulus, expected: expectationText(expected), twin });
}

export function freeze(version: string, purposes: readonly Purpose[]): FrozenSuite {
  const digests = purposes
    .map((purpose) => [purpose.id as string, sha256(definingText(purpose))] as const)
    .sort(([one], [other]) => (one < other ? -1 : 1));
  return {
    version,
    sha256: sha256(digests.map(([id, digest]) => `${id}\t${digest}\n`).join("")),
    purposes: Object.fromEntries(digests),
  };
}

export interface Drift {
  readonly vanished: readonly string[];
  readonly changed: readonly string[];
  readonly added: readonly string[];
}

/** What the purposes have in another way than the frozen list. */
export function drift({ purposes: digests }: FrozenSuite, purposes: readonly Purpose[]): Drift {
  const now = freeze("", purposes).purposes;
  const ids = Object.keys(digests);
  return {
    vanished: ids.filter((id) => !(id in now)),
    changed: ids.filter((id) => id in now && now[id] !== digests[id]),
    added: Object.keys(now).filter((id) => !(id in digests)),
  };
}

/** Digest of the frozen list that these purposes are, one for one; "" where this version was not frozen, or is no longer as it was. */
export function frozenDigest(version: string, purposes: readonly Purpose[]): string {
  const list = frozen.versions.find((one) => one.version === version);
  return list !== undefined && list.sha256 === freeze(version, purposes).sha256 ? list.sha256 : "";
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
