// `npm run mutants`: each mutant in turn under the kit; shows which step found it. A mutant that no step finds has survived, and what it
// breaks is then not checked by anything.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../../reference/communications/log.ts";
import { launchAltered } from "../../reference/stack/one-process.ts";
import { startStack } from "../../reference/stack/stack.ts";
import { subscriberRecords } from "../procedures/subscriber-records.ts";
import { type RunResult, run } from "../run.ts";
import { readTarget } from "../target.ts";
import { accessManagementMutants } from "./access-management.ts";
import { dataStorageServerMutants } from "./data-storage-server.ts";
import { keyStorageServerMutants } from "./key-storage-server.ts";
import { alterable, type Mutant } from "./mutant.ts";
import { policyManagementMutants } from "./policy-management.ts";

export const mutants: readonly Mutant[] = [
  ...policyManagementMutants,
  ...accessManagementMutants,
  ...keyStorageServerMutants,
  ...dataStorageServerMutants,
];

export interface Trial {
  readonly mutant: Mutant;
  /** Steps that failed: what the kit saw of it. Empty where it survived. */
  readonly foundBy: readonly { readonly step: string; readonly seen: string }[];
}

/** Runs the kit on each mutant, over one stack whose services become one mutant after the other; first on none, which must pass. */
export async function tryMutants(
  chosen: readonly Mutant[],
  onTrial: (trial: Trial) => void = () => {},
): Promise<Trial[]> {
  const folder = await mkdtemp(join(tmpdir(), "x1410-mutants-"));
  let active: Mutant | undefined;
  const stack = await startStack(
    {
      dataDirectory: folder,
      host: "127.0.0.1",
      basePort: 0,
      ledgerNodes: 1,
      revocationRefreshMs: 60_000,
      introspection: "off",
      log: silentLog,
    },
    (launch) => launchAltered(launch, (registrations) => alterable(registrations, () => active)),
  );
  try {
    const target = await readTarget(stack.targetFile);
    const records = subscriberRecords({ seed: "mutants", bytes: 4096 });
    const underTest = () => run(target, { client: "grpc", records });
    const sound = failuresOf(await underTest());
    if (sound.length > 0) throw new Error(`the reference itself fails: ${sound.map(({ step }) => step).join(", ")}`);
    const trials: Trial[] = [];
    for (const mutant of chosen) {
      active = mutant;
      const trial = { mutant, foundBy: failuresOf(await underTest()) };
      active = undefined;
      trials.push(trial);
      onTrial(trial);
    }
    return trials;
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A step that is inconclusive, or a fault of the kit, has found nothing. */
function failuresOf({ procedures }: RunResult): { step: string; seen: string }[] {
  return procedures.flatMap(({ steps }) =>
    steps.filter(({ verdict }) => verdict === "FAIL").map(({ id, seen }) => ({ step: id, seen })),
  );
}

async function main(): Promise<void> {
  const trials = await tryMutants(mutants, ({ mutant, foundBy }) => {
    const mark = foundBy.length === 0 ? "SURVIVED" : "found   ";
    console.log(`${mark} ${mutant.id}, clause ${mutant.clause}: ${mutant.breaks}`);
    for (const { step, seen } of foundBy) console.log(`           ${step}: ${seen}`);
  });
  const survivors = trials.filter(({ foundBy }) => foundBy.length === 0);
  console.log(`${trials.length - survivors.length} passed, ${survivors.length} failed`);
  process.exitCode = survivors.length === 0 ? 0 : 1;
}

if (import.meta.main) await main();
