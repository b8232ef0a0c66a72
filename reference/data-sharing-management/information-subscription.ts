// Data-sharing information subscription (SUB, clause 6.2.2): keeps the news from publication (SUB1, F3.11) and sends it to the subscribers
// that hold a stream open (SUB2, F3.12).
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type PublishedInformation, PublishedInformationSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  InformationSubscriptionService,
  NotifyPublishedResponseSchema,
  type SubscribeResponse,
  SubscribeResponseSchema,
} from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { commit, messageTable, put, remove, type Store, textTable } from "../store/durable-batch.ts";
import { EventLog, orderedKey } from "./event-log.ts";
import type { SessionGate } from "./session-gate.ts";
import { UserStreams } from "./user-stream.ts";

/** The one topic: everybody gets the same news. */
const PUBLISHED = "published";

export interface InformationSubscriptionDependencies {
  /** Of information subscription alone. */
  readonly store: Store;
  readonly gate: SessionGate;
  /** Events that a stream can resume over, 10,000 unless told. */
  readonly keep?: number;
  /** Streams of one identity, 16 unless told. */
  readonly streamsPerIdentity?: number;
}

export function createInformationSubscription(
  dependencies: InformationSubscriptionDependencies,
): Registration<typeof InformationSubscriptionService> {
  const { store, gate, keep, streamsPerIdentity } = dependencies;
  const log = new EventLog({ store, ...(keep === undefined ? {} : { keep }) });
  const streams = new UserStreams({
    gate,
    right: "access",
    ...(streamsPerIdentity === undefined ? {} : { streamsPerIdentity }),
  });
  // The snapshot: by position what is published now, and by contract address the position.
  const current = messageTable(store, "current");
  const positions = textTable(store, "positions");
  const mutex = new KeyedMutex();

  const keepNews = (position: bigint, information: PublishedInformation) =>
    mutex.run(PUBLISHED, async () => {
      if (position <= (await log.last(PUBLISHED))) return;
      const bytes = toBinary(PublishedInformationSchema, information);
      const { changes } = await log.append(PUBLISHED, bytes, position);
      const before = await positions.get(information.contractAddress);
      const key = orderedKey(position);
      await commit(store, [
        ...changes,
        put(positions, information.contractAddress, key),
        ...(before === undefined ? [] : [remove(current, before)]),
        ...(information.withdrawn ? [] : [put(current, key, bytes)]),
      ]);
      await log.appended(PUBLISHED, position);
    });

  /** Everything that is published at this time, in the order of publication, one entry at a time. */
  async function* snapshot(upTo: bigint, signal: AbortSignal) {
    let after = "";
    while (!signal.aborted) {
      const [entry] = await current.iterator({ gt: after, lte: orderedKey(upTo), limit: 1 }).all();
      if (entry === undefined) return;
      const [key, value] = entry;
      yield { position: BigInt(`0x${key}`), value };
      after = key;
    }
  }

  async function* news(after: bigint, signal: AbortSignal) {
    if (after !== 0n) {
      yield* log.follow(PUBLISHED, after, signal);
      return;
    }
    const upTo = await log.last(PUBLISHED);
    yield* snapshot(upTo, signal);
    yield* log.follow(PUBLISHED, upTo, signal);
  }

  return implement(InformationSubscriptionService, {
    async notifyPublished({ position, information }) {
      if (information === undefined) throw refusal(ErrorReason.REQUEST_INVALID, "information");
      await keepNews(position, information);
      return create(NotifyPublishedResponseSchema);
    },
    subscribe({ afterPosition, category }, context) {
      return streams.stream<SubscribeResponse>(context, {
        stand: () => log.requireKept(PUBLISHED, afterPosition),
        events: (_, signal) => news(afterPosition, signal),
        message(position, value) {
          if (value === undefined) return create(SubscribeResponseSchema, { position });
          const information = fromBinary(PublishedInformationSchema, value);
          const wanted = category === "" || information.information?.attributes?.category === category;
          return wanted ? create(SubscribeResponseSchema, { position, information }) : undefined;
        },
      });
    },
  });
}
