// Data shared through the management under test, as the state from which access is tested.
import type { Found } from "../roles/data-consumer.ts";
import type { Leftovers, Shared, Terms } from "../roles/data-provider.ts";
import type { TestCase } from "../test-case.ts";

export interface SharedData extends Shared {
  /** As a consumer finds it by the contract's address. */
  readonly found: Found;
}

/** The whole of Figure 3, or without terms of Annex A.1, with little data. Both users are in session; all is withdrawn afterwards. */
export async function sharedData(
  t: TestCase,
  terms: Terms | undefined,
  plaintext: Uint8Array = t.seeded(2000),
): Promise<SharedData> {
  const { provider, consumer } = t;
  await t.inSession(provider);
  await t.inSession(consumer);
  const leftovers: Leftovers = [];
  t.cleanUp(async () => {
    for (const takeAway of leftovers.reverse()) await takeAway();
  });
  const shared = await provider.share(plaintext, terms, leftovers);
  const found = consumer.checkPublication(await consumer.lookUp(shared.contractAddress));
  return { ...shared, found };
}
