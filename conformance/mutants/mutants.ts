// Faulty servers: each mutant in turn under the purposes that must find it. One that not all of them find has survived, and what it breaks is
// then not checked by anything.
import { createSigner } from "../../reference/envelope/signer.ts";
import { execute } from "../execution.ts";
import type { Purpose } from "../purposes/purpose.ts";
import { type ReferenceSubset, referenceSubset } from "../reference-subsets.ts";
import { Stage } from "../stage.ts";
import { purposes } from "../suite.ts";
import { entityRoles, isServer } from "../target.ts";
import { accessManagementMutants } from "./access-management.ts";
import { communicationsMutants } from "./communications.ts";
import { dataStorageServerMutants } from "./data-storage-server.ts";
import { hiddenEffectMutants } from "./hidden-effects.ts";
import { keyStorageServerMutants } from "./key-storage-server.ts";
import { ledgerEvidenceMutants } from "./ledger-evidence.ts";
import { alterable, alterableGuards, type Mutant, type SignerOf } from "./mutant.ts";
import { policyManagementMutants } from "./policy-management.ts";
import { skippedCheckMutants } from "./skipped-checks.ts";
import { statedValueMutants } from "./stated-values.ts";
import { validManagementMutants } from "./valid-management.ts";
import { validStorageMutants } from "./valid-storage.ts";

export const mutants: readonly Mutant[] = [
  ...communicationsMutants,
  ...validManagementMutants,
  ...policyManagementMutants,
  ...ledgerEvidenceMutants,
  ...accessManagementMutants,
  ...statedValueMutants,
  ...hiddenEffectMutants,
  ...keyStorageServerMutants,
  ...dataStorageServerMutants,
  ...validStorageMutants,
  // Last: what a user may tell publication and subscription in place of the management stays with the stack that believed it.
  ...skippedCheckMutants,
];

export interface Trial {
  readonly mutant: Mutant;
  /** Purposes that failed on it, with what each expected. */
  readonly failed: readonly { readonly id: string; readonly expected: string }[];
  /** Of those that must find it, the ones that did not, with their verdict. */
  readonly missed: readonly string[];
}

export interface TrialOptions {
  readonly wide?: boolean;
  onTrial?(trial: Trial): void;
}

/** Whether every purpose that must find the mutant did. */
export function found({ missed }: Trial): boolean {
  return missed.length === 0;
}

/** Tries mutants over one stack whose entities become one after the other; first none, on which every purpose concerned must pass. */
export async function tryMutants(chosen: readonly Mutant[], { wide = false, onTrial }: TrialOptions = {}) {
  let active: Mutant | undefined;
  const signer: SignerOf = (role) => {
    const { authority } = reference.harness;
    if (authority === undefined) throw new Error("this harness has no authority of its own");
    const { privateKeyPem, chainPem } = authority.kept(role, "local", []);
    return createSigner({ privateKeyPem, certificateChainPem: chainPem });
  };
  const reference = await referenceSubset(entityRoles, {
    alter: (registrations) => alterable(registrations, () => active, signer),
    alterGuards: (guards, door) => alterableGuards(guards, door, () => active),
  });
  try {
    const named = new Set(chosen.flatMap(({ foundBy }) => foundBy as readonly string[]));
    const sound = await perform(reference, [...named].map(purposeOf));
    const failing = sound.filter(({ verdict }) => verdict !== "PASS").map(({ id, actual }) => `${id} (${actual})`);
    if (failing.length > 0) throw new Error(`the reference itself does not pass: ${failing.join(", ")}`);
    const trials: Trial[] = [];
    for (const mutant of chosen) {
      active = mutant;
      const trial = await tried(reference, mutant, wide ? concerned(mutant) : mutant.foundBy.map(purposeOf));
      active = undefined;
      trials.push(trial);
      onTrial?.(trial);
    }
    return trials;
  } finally {
    await reference.close();
  }
}

async function tried(reference: ReferenceSubset, mutant: Mutant, list: readonly Purpose[]): Promise<Trial> {
  const standIn = await startStandIn(reference, mutant);
  try {
    const results = await perform(standIn?.reference ?? reference, list);
    const failed = results.filter(({ verdict }) => verdict === "FAIL");
    const { foundBy, expectation = "" } = mutant;
    const missed = results.filter(
      ({ id, verdict, expected, actual }) =>
        (foundBy as readonly string[]).includes(id) &&
        // Of a procedure the step that failed says what it expected.
        (verdict !== "FAIL" || !`${expected}; ${actual}`.includes(expectation)),
    );
    return {
      mutant,
      failed: failed.map(({ id, expected }) => ({ id, expected })),
      missed: missed.map(({ id, verdict, expected, actual }) => `${id} ${verdict} ${expected}; ${actual}`),
    };
  } finally {
    await standIn?.close();
  }
}

async function startStandIn(reference: ReferenceSubset, { standIn }: Mutant) {
  const { authority } = reference.harness;
  if (standIn === undefined || authority === undefined) return undefined;
  const { role, start } = standIn;
  const { entity, close } = await start(authority);
  const { settings } = reference;
  const entities = { ...settings.entities, [role]: { ...settings.entities[role], ...entity } };
  return { reference: { ...reference, settings: { ...settings, entities } }, close };
}

/** On a stage of its own: what a mutant has spoilt of sessions and accounts must not be taken for the next one's fault. */
async function perform({ settings, harness }: ReferenceSubset, list: readonly Purpose[]) {
  const stage = new Stage(settings, harness, { client: "grpc", seed: "mutants", recordBytes: 4096 });
  try {
    return await execute(list, stage, { parallel: 4, budgetMs: 120_000 });
  } finally {
    await stage.close();
  }
}

export function purposeOf(id: string): Purpose {
  const purpose = purposes.find((one) => one.id === id);
  if (purpose === undefined) throw new Error(`the suite has no purpose ${id}`);
  return purpose;
}

/** The purposes that must find it, and all of servers that call a method of its alterations. */
function concerned({ foundBy, alterations = [] }: Mutant): readonly Purpose[] {
  const names = alterations.map(({ method }) => `${method.parent.name}/${method.name}`);
  return purposes.filter(
    ({ id, methods, involves }) =>
      (foundBy as readonly string[]).includes(id) ||
      (involves.every(isServer) && methods.some((name) => names.includes(name))),
  );
}
