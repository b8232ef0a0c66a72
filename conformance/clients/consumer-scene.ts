// A data consumer under test before data that the kit's provider has shared.
import type { DescMethod } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { expect, expectFirst, Inconclusive } from "../procedures/procedure.ts";
import { type SharedData, sharedData } from "../purposes/dssm-shared-data.ts";
import type { Terms } from "../roles/data-provider.ts";
import { same } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { type ClientUnderTest, expectAccepted, type Outcome } from "./client-under-test.ts";
import type { ObservedCall } from "./observation.ts";
import { differenceText } from "./outcome-text.ts";

export interface ConsumerScene {
  readonly client: ClientUnderTest;
  readonly shared: SharedData;
}

/** What the kit does at its own servers: where that fails, the client is not to blame. */
export async function byTheKit<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof ConnectError)) throw cause;
    throw new Inconclusive(`the kit could not do its own part: ${cause.message}`);
  }
}

const exportable: Terms = { accessTimes: 3, readOnly: false };

export async function consumerScene(
  t: TestCase,
  terms: Terms = exportable,
  plaintext?: Uint8Array,
): Promise<ConsumerScene> {
  return byTheKit(async () => ({ shared: await sharedData(t, terms, plaintext), client: await t.client() }));
}

/** As `consumerScene`, without an access permission. */
export async function bareScene(t: TestCase): Promise<ConsumerScene> {
  return byTheKit(async () => ({ shared: await sharedData(t, undefined), client: await t.client() }));
}

export function access({ client, shared }: ConsumerScene): Promise<Outcome> {
  return client.perform("access", { contract: shared.contractAddress });
}

/** The client ends well, and {output} has the plaintext that was shared. */
export function expectPlaintext(outcome: Outcome, { shared }: ConsumerScene): void {
  expectAccepted(outcome);
  const { output } = outcome;
  expectFirst(output !== undefined, "the plaintext in {output}", "there is no such file");
  const { plaintext } = shared;
  if (same(output, plaintext)) return;
  expectFirst(false, "the plaintext that was shared, byte for byte", differenceText(output, plaintext));
}

/** The client accesses data where nothing is wrong: without that, a refusal of the wrong would prove nothing. */
export function consumerTwin(t: TestCase): Promise<void> {
  return t.positiveTwin("an access with nothing wrong", () =>
    t.bench.twin("access", async () => {
      const scene = await consumerScene(t);
      expectPlaintext(await access(scene), scene);
    }),
  );
}

/** The first call of each method, in this order. */
export function expectOrder(calls: readonly ObservedCall[], methods: readonly DescMethod[]): void {
  let last = -1;
  let before = "the beginning";
  for (const method of methods) {
    const at = calls.findIndex((call) => call.method === method);
    expectFirst(at >= 0, `a call of ${method.name}`);
    expect(at > last, `${method.name} after ${before}`);
    last = at;
    before = method.name;
  }
}
