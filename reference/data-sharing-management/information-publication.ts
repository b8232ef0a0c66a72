// Data-sharing information publication (PUB, clause 6.2.2): takes information from policy management (PUB1, F3.9.2), publishes it (PUB2,
// F3.10) and hands it on to subscription (PUB3, F3.11).
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { type PublishedInformation, PublishedInformationSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  GetInformationResponseSchema,
  type InformationFilter,
  InformationPublicationService,
  PublishInformationResponseSchema,
  SearchInformationResponseSchema,
} from "../../gen/x1410/v1/information_publication_pb.ts";
import type { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { commit, messageTable, put, remove, type Store, textTable } from "../store/durable-batch.ts";
import { orderedKey } from "./event-log.ts";
import type { SessionGate } from "./session-gate.ts";

const DEFAULT_PAGE_SIZE = 100;

/** A page ends early at this size: the answer stays below what gRPC libraries receive by default, 4 MiB. */
const PAGE_BYTES = 2 << 20;

/** Publication and subscription take one at a time, so that positions reach subscribers in order. */
const EVERYTHING = "everything";

export interface InformationPublicationDependencies {
  /** Of information publication alone. */
  readonly store: Store;
  readonly gate: SessionGate;
  readonly subscription: Pick<Client<typeof InformationSubscriptionService>, "notifyPublished">;
}

export interface InformationPublication {
  readonly registration: Registration<typeof InformationPublicationService>;
  /** Hands on what subscription has not confirmed yet (F3.11): at start, and again after a failure. */
  deliver(): Promise<void>;
}

export function createInformationPublication(dependencies: InformationPublicationDependencies): InformationPublication {
  const { store, gate, subscription } = dependencies;
  // By contract address: the latest information, and its position.
  const latest = messageTable(store, "latest");
  const positions = textTable(store, "positions");
  // By position: addresses of what a search finds, and what subscription is still to be told.
  const searchable = textTable(store, "searchable");
  const outbox = messageTable(store, "outbox");
  const counter = textTable(store, "counter");
  const mutex = new KeyedMutex();

  const find = async (address: string): Promise<PublishedInformation | undefined> => {
    const bytes = await latest.get(address);
    return bytes === undefined ? undefined : fromBinary(PublishedInformationSchema, bytes);
  };

  /** @returns the position under which subscribers get it; the earlier one where it is known already */
  const publish = (information: PublishedInformation): Promise<bigint> =>
    mutex.run(EVERYTHING, async () => {
      const address = information.contractAddress;
      const known = await find(address);
      const before = await positions.get(address);
      if (known !== undefined && before !== undefined && !supersedes(information, known)) return BigInt(`0x${before}`);
      const position = BigInt(`0x${(await counter.get("position")) ?? "0"}`) + 1n;
      const key = orderedKey(position);
      const bytes = toBinary(PublishedInformationSchema, information);
      await commit(store, [
        put(counter, "position", key),
        put(latest, address, bytes),
        put(positions, address, key),
        put(outbox, key, bytes),
        ...(before === undefined ? [] : [remove(searchable, before)]),
        ...(information.withdrawn ? [] : [put(searchable, key, address)]),
      ]);
      return position;
    });

  const deliver = () =>
    mutex.run("outbox", async () => {
      for await (const [key, bytes] of outbox.iterator()) {
        const information = fromBinary(PublishedInformationSchema, bytes);
        await subscription.notifyPublished({ position: BigInt(`0x${key}`), information });
        await commit(store, [remove(outbox, key)]);
      }
    });

  const registration = implement(InformationPublicationService, {
    async publishInformation({ information }) {
      if (information === undefined) throw refusal(ErrorReason.REQUEST_INVALID, "information");
      const position = await publish(information);
      // What is published stays published where subscription cannot be reached; it is told later, in order.
      await deliver().catch(() => undefined);
      return create(PublishInformationResponseSchema, { position });
    },

    async searchInformation({ filter, pageSize, pageToken }, context) {
      await gate.require(context, "access");
      if (!/^([0-9a-f]{16})?$/.test(pageToken)) throw refusal(ErrorReason.REQUEST_INVALID, "page_token");
      const limit = pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize;
      const page: PublishedInformation[] = [];
      let bytes = 0;
      let nextPageToken = "";
      for await (const [key, address] of searchable.iterator({
        reverse: true,
        ...(pageToken === "" ? {} : { lt: pageToken }),
      })) {
        const found = await find(address);
        if (found === undefined || found.withdrawn || !matches(found, filter)) continue;
        if (page.length === limit || bytes >= PAGE_BYTES) {
          // The next page starts right here: just below the key after this one.
          nextPageToken = orderedKey(BigInt(`0x${key}`) + 1n);
          break;
        }
        bytes += found.signedPolicy?.payload.byteLength ?? 0;
        page.push(found);
      }
      return create(SearchInformationResponseSchema, { information: page, nextPageToken });
    },

    async getInformation({ contractAddress }, context) {
      await gate.require(context, "access");
      const information = await find(contractAddress);
      if (information === undefined) throw refusal(ErrorReason.INFORMATION_NOT_FOUND);
      return create(GetInformationResponseSchema, { information });
    },
  });

  return { registration, deliver };
}

/** Information is identified by contract and version; a withdrawal comes after every version and nothing comes after it. */
export function supersedes(information: PublishedInformation, known: PublishedInformation): boolean {
  if (known.withdrawn) return false;
  return information.withdrawn || information.policyVersion > known.policyVersion;
}

function matches({ information }: PublishedInformation, filter: InformationFilter | undefined): boolean {
  if (filter === undefined) return true;
  const attributes = information?.attributes;
  if (filter.category !== "" && attributes?.category !== filter.category) return false;
  if (filter.providerIdentity !== "" && information?.providerIdentity !== filter.providerIdentity) return false;
  const text = [attributes?.category, attributes?.introduction, attributes?.usage, ...(attributes?.keywords ?? [])]
    .join("\n")
    .toLowerCase();
  const words = filter.text.toLowerCase().split(/\s+/);
  return words.every((word) => text.includes(word));
}
