// Long checks run whole in the campaign and by a fixed share elsewhere: the same share on every machine, until its seed changes.
import { createHash } from "node:crypto";

/** True under `npm run campaign`. */
export const campaign = process.env["X1410_CAMPAIGN"] === "1";

/** `count` of the items, chosen by the seed, in their own order; all of them in a campaign. */
export function seededShare<T>(items: readonly T[], count: number, seed = "x1410"): readonly T[] {
  if (campaign || count >= items.length) return items;
  const rank = (index: number) => createHash("sha256").update(`${seed} ${index}`).digest("hex");
  const chosen = new Set(
    items
      .map((_, index) => ({ index, rank: rank(index) }))
      .sort((one, other) => one.rank.localeCompare(other.rank))
      .slice(0, count)
      .map(({ index }) => index),
  );
  return items.filter((_, index) => chosen.has(index));
}
