// Replays the four procedures against a target.
import { Code, ConnectError } from "@connectrpc/connect";
import { UserAccountService } from "../gen/x1410/v1/user_account_pb.ts";
import { createSigner } from "../reference/envelope/signer.ts";
import { Channels, type ClientStack } from "./channels.ts";
import { annexA1 } from "./procedures/annex-a1.ts";
import { annexA2 } from "./procedures/annex-a2.ts";
import type { Cast } from "./procedures/cast.ts";
import { figure3 } from "./procedures/figure-3.ts";
import { figure4 } from "./procedures/figure-4.ts";
import { type Procedure, type ProcedureResult, replay, type StepResult } from "./procedures/procedure.ts";
import { DataConsumer } from "./roles/data-consumer.ts";
import { DataProvider } from "./roles/data-provider.ts";
import { signerTrust } from "./signer-trust.ts";
import type { Target } from "./target.ts";
import { overwrite, type Verdict } from "./verdict.ts";

export const procedures: readonly Procedure<Cast>[] = [figure3, figure4, annexA1, annexA2];

export interface RunOptions {
  readonly client: ClientStack;
  /** Subscriber records in CSV, which the kit's provider shares. */
  readonly records: Uint8Array;
  readonly selected?: readonly Procedure<Cast>[];
  onProcedure?(procedure: Procedure<Cast>): void;
  onStep?(step: StepResult): void;
}

export interface RunResult {
  readonly target: string;
  readonly client: ClientStack;
  readonly procedures: readonly ProcedureResult[];
  /** Undefined where no step was judged, which is never a pass. */
  readonly verdict: Verdict | undefined;
  /** What could not be taken away from the target afterwards. */
  readonly leftBehind: readonly string[];
}

/** Replays the selected procedures, by default all four, one after the other, and leaves nothing on the target. */
export async function run(target: Target, options: RunOptions): Promise<RunResult> {
  const results: ProcedureResult[] = [];
  const leftBehind: string[] = [];
  const trust = signerTrust(target);
  for (const procedure of options.selected ?? procedures) {
    options.onProcedure?.(procedure);
    const provider = new DataProvider(
      target,
      target.provider,
      new Channels(target, target.provider, options.client),
      trust,
    );
    const consumer = new DataConsumer(
      target,
      target.consumer,
      new Channels(target, target.consumer, options.client),
      trust,
    );
    const cast: Cast = { provider, consumer, records: options.records, leftovers: [] };
    try {
      results.push(await replay(staged(procedure, options.client), cast, options.onStep));
    } finally {
      for (const takeAway of cast.leftovers.reverse())
        await takeAway().catch((cause: unknown) => leftBehind.push(ConnectError.from(cause).message));
      provider.close();
      consumer.close();
    }
  }
  const verdicts = results.flatMap(({ steps }) => steps.flatMap(({ verdict }) => verdict ?? []));
  return { target: target.name, client: options.client, procedures: results, verdict: overwrite(verdicts), leftBehind };
}

/** The procedure with its stage set: accounts stand ready and the consumer is known to the management. */
function staged(procedure: Procedure<Cast>, client: ClientStack): Procedure<Cast> {
  return {
    ...procedure,
    replay: async (script, cast) => {
      const { target } = cast.provider;
      await script.preamble("accounts of provider and consumer", () => prepareAccounts(target, client));
      await script.preamble("the consumer authenticates", () => cast.consumer.logIn());
      await procedure.replay(script, cast);
    },
  };
}

/** Creates the accounts as the operator, unless they stand ready. */
async function prepareAccounts(target: Target, client: ClientStack): Promise<void> {
  if (target.operator === undefined) return;
  const channels = new Channels(target, target.operator, client);
  try {
    const accounts = channels.client(UserAccountService, "dssm");
    for (const [credential, rights] of [
      [target.provider, { publish: true }],
      [target.consumer, { access: true }],
    ] as const) {
      const { identity } = createSigner(credential);
      const attributes = { industries: ["isic:j61"], country: "CH", organization: "Conformance test" };
      await accounts.getAccount({ identity }).catch((cause: unknown) => {
        if (!(cause instanceof ConnectError) || cause.code !== Code.NotFound) throw cause;
        return accounts.createAccount({ account: { identity, displayName: "Conformance kit", rights, attributes } });
      });
    }
  } finally {
    channels.close();
  }
}
