// Each faulty user's side in turn under the kit; which purposes find it. One that none finds has survived.
import { campaign } from "../campaign.ts";
import { ClientBench } from "../clients/client-bench.ts";
import { referenceClient, referenceClientPics } from "../clients/client-target.ts";
import { Counterparts } from "../clients/counterparts.ts";
import type { Purpose } from "../purposes/purpose.ts";
import { Stage } from "../stage.ts";
import { purposes } from "../suite.ts";
import type { ClientRole } from "../target.ts";
import { type ClientMutant, MutantClient } from "./client-mutant.ts";
import { dataConsumerMutants } from "./data-consumer.ts";
import { dataProviderMutants } from "./data-provider.ts";

export const clientMutants: readonly ClientMutant[] = [...dataProviderMutants, ...dataConsumerMutants];

export interface ClientTrial {
  readonly mutant: ClientMutant;
  /** Purposes that failed. */
  readonly failed: readonly { readonly id: string; readonly expected: string }[];
  /** Of those that must find it, the ones that did not. */
  readonly missed: readonly string[];
}

const BUDGET_MS = 300_000;
const PARALLEL = 3;

export interface ClientTrialOptions {
  /** Every purpose of the role on every mutant, and not only those that must find it. */
  readonly wide?: boolean;
  onTrial?(trial: ClientTrial): void;
}

/**
 * Tries the kit on each mutant; first on the reference itself, in the same way, which must pass.
 * @throws Error where the reference fails
 */
export async function tryClientMutants(
  chosen: readonly ClientMutant[],
  { wide = false, onTrial = () => {} }: ClientTrialOptions = {},
): Promise<ClientTrial[]> {
  const trials: ClientTrial[] = [];
  const counterparts = await Counterparts.start();
  try {
    for (const role of new Set(chosen.map((mutant) => mutant.role))) {
      const sound: ClientMutant = {
        id: role,
        clause: "",
        breaks: "nothing",
        role,
        foundBy: ["TP/DC/F4/BV-01"],
        edits: [],
      };
      const wanted = new Set<string>(chosen.flatMap(({ foundBy }) => foundBy));
      const tried = purposesOf(role).filter(({ id }) => wide || wanted.has(id));
      const failed = await failuresOf(sound, counterparts, tried, true);
      if (failed.length > 0) throw new Error(`the reference itself fails: ${failed.map(({ id }) => id).join(", ")}`);
    }
    for (const mutant of chosen) {
      const own = purposesOf(mutant.role).filter(({ id }) => wide || mutant.foundBy.some((one) => one === id));
      const failed = await failuresOf(mutant, counterparts, own, false);
      const missed = mutant.foundBy.filter((wanted) => !failed.some(({ id }) => id === wanted));
      const trial = { mutant, failed, missed };
      trials.push(trial);
      onTrial(trial);
    }
    return trials;
  } finally {
    await counterparts.close();
  }
}

export function purposesOf(role: ClientRole): readonly Purpose[] {
  return purposes.filter(({ involves }) => involves.includes(role));
}

/** What failed, or of the reference itself whatever did not pass. */
async function failuresOf(
  mutant: ClientMutant,
  counterparts: Counterparts,
  list: readonly Purpose[],
  strict: boolean,
): Promise<{ id: string; expected: string }[]> {
  const client = new MutantClient(mutant);
  try {
    const bench = new ClientBench(referenceClient(mutant.role), counterparts, client.perform);
    const options = { client: "grpc", seed: "mutants", recordBytes: 16 * 1024 } as const;
    const stage = new Stage({ ...counterparts.settings, name: mutant.id }, undefined, options, bench);
    const { results } = await campaign(stage, {
      purposes: list,
      filters: {},
      pics: [referenceClientPics(mutant.role)],
      expectedFailures: new Map(),
      parallel: PARALLEL,
      budgetMs: BUDGET_MS,
      reproduce: (id) => id,
    });
    if (client.fault !== undefined) throw new Error(`${mutant.id} does not load: ${client.fault}`);
    const wrong = results.filter(({ verdict }) => (strict ? verdict !== "PASS" : verdict === "FAIL"));
    return wrong.map(({ id, expected }) => ({ id, expected }));
  } finally {
    await client.close();
  }
}
