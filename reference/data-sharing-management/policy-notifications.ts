// Notifications to providers (DSPM4, P9, U5; F3.9.1, A1.9.1): a durable log for each provider, read by the streams that it opens.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { ContractNotificationSchema, type PolicyState } from "../../gen/x1410/v1/data_sharing_pb.ts";
import {
  type WatchNotificationsResponse,
  WatchNotificationsResponseSchema,
} from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import type { Change, Store } from "../store/durable-batch.ts";
import { EventLog } from "./event-log.ts";
import type { PolicyEntry } from "./policy-store.ts";
import type { SessionGate } from "./session-gate.ts";
import { UserStreams } from "./user-stream.ts";

export interface PolicyNotificationsOptions {
  /** Part of the database for notifications alone. */
  readonly store: Store;
  readonly gate: SessionGate;
  readonly now: () => Date;
  /** Notifications kept for each provider, 10,000 unless told. */
  readonly keep?: number;
  /** Streams of one provider, 16 unless told. */
  readonly streamsPerIdentity?: number;
}

export class PolicyNotifications {
  readonly #log: EventLog;
  readonly #streams: UserStreams;
  readonly #now: () => Date;
  readonly #mutex = new KeyedMutex();

  constructor({ store, gate, now, keep, streamsPerIdentity }: PolicyNotificationsOptions) {
    this.#log = new EventLog({ store, ...(keep === undefined ? {} : { keep }) });
    this.#streams = new UserStreams({ gate, ...(streamsPerIdentity === undefined ? {} : { streamsPerIdentity }) });
    this.#now = now;
  }

  /** Notifies the provider that a policy has reached `state`, in the one batch that `save` commits with the changes given to it. */
  notify<T>(entry: PolicyEntry, state: PolicyState, save: (changes: Change[]) => Promise<T>): Promise<T> {
    const { policyId, provider, terms, contractAddress, receipt } = entry;
    return this.#mutex.run(provider, async () => {
      const notification = create(ContractNotificationSchema, {
        policyId,
        policyVersion: terms.policy.version,
        contractAddress,
        state,
        notifiedAt: timestampFromDate(this.#now()),
        ...(receipt === undefined ? {} : { receipt }),
      });
      const event = toBinary(ContractNotificationSchema, notification);
      const { position, changes } = await this.#log.append(provider, event);
      const saved = await save(changes);
      await this.#log.appended(provider, position);
      return saved;
    });
  }

  watch(afterPosition: bigint, context: HandlerContext): AsyncGenerator<WatchNotificationsResponse> {
    return this.#streams.stream<WatchNotificationsResponse>(context, {
      stand: (provider) => this.#log.requireKept(provider, afterPosition),
      events: (provider, signal) => this.#log.follow(provider, afterPosition, signal),
      message: (position, value) =>
        value === undefined
          ? create(WatchNotificationsResponseSchema, { position })
          : create(WatchNotificationsResponseSchema, {
              position,
              notification: fromBinary(ContractNotificationSchema, value),
            }),
    });
  }
}
