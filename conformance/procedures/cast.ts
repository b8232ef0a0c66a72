// Who plays in a replay, and with what data.
import type { DataConsumer } from "../roles/data-consumer.ts";
import type { DataProvider, Leftovers } from "../roles/data-provider.ts";

export interface Cast {
  readonly provider: DataProvider;
  /** Authenticated at the management, so that it can search and subscribe. */
  readonly consumer: DataConsumer;
  /** The provider's raw data: subscriber records in CSV. */
  readonly records: Uint8Array;
  /** What to take away from the target afterwards; run last to first, whatever the verdict. */
  readonly leftovers: Leftovers;
}
