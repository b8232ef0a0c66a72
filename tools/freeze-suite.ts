// `npm run suite:freeze`: adds the present version of the conformance suite to the frozen lists. A version that was frozen stays as it was:
// raise `suiteVersion` in conformance/suite.ts first. `--again` freezes the newest version anew, for one of which nobody has a report.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { drift, type FrozenLists, freeze, frozen } from "../conformance/frozen-suite.ts";
import { profile, purposes, recommendation, suiteVersion } from "../conformance/suite.ts";
import { ROOT } from "./toolchain.ts";

const path = join(ROOT, "conformance", "frozen", "x.1410-2023-03.x1410.v1.json");
const again = process.argv.includes("--again");

function frozenNow(): FrozenLists {
  const known = frozen.versions.find(({ version }) => version === suiteVersion);
  if (known !== undefined) {
    const { vanished, changed, added } = drift(known, purposes);
    const different = [...vanished, ...changed, ...added];
    if (different.length === 0) return frozen;
    if (!again || known !== frozen.versions.at(-1))
      throw new Error(`suite ${suiteVersion} is frozen, and differs in ${different.join(", ")}: raise suiteVersion`);
  }
  const others = frozen.versions.filter(({ version }) => version !== suiteVersion);
  const versions = [...others, freeze(suiteVersion, purposes)];
  return { format: "x1410-frozen-suite/1", recommendation, profile, versions };
}

try {
  const lists = frozenNow();
  writeFileSync(path, `${JSON.stringify(lists, undefined, 2)}\n`);
  const last = lists.versions.at(-1);
  console.log(`suite ${last?.version}: ${purposes.length} purposes, ${last?.sha256}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
