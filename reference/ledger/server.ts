// A node of the ledger: chain, distribution, engine and services put together (grey in Figure 1, clause 6.1).
import type { Level } from "level";
import {
  BlockHeaderSchema,
  BlockReceiptSchema,
  type NetworkParameters,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import type {
  LedgerService,
  SmartContractService,
  SystemManagementService,
} from "../../gen/x1410/v1/ledger_service_pb.ts";
import { compileRules } from "../communications/field-rules.ts";
import { type Log, silentLog } from "../communications/log.ts";
import type { Registration } from "../communications/service.ts";
import type { Signer } from "../envelope/signer.ts";
import { Chain } from "./chain.ts";
import { ChainStore } from "./chain-store.ts";
import { Distribution, finalOnceStored, type LedgerPeer } from "./distribution.ts";
import { EmbeddedEngine } from "./embedded-engine.ts";
import type { LedgerEngine } from "./engine.ts";
import { Follower, type Stop } from "./follower.ts";
import { createLedgerService, createSmartContractService, createSystemManagementService } from "./ledger-services.ts";
import { type LedgerTrust, TrustAtTime } from "./trust-at-time.ts";

export interface LedgerNodeOptions {
  /** A database for this node's ledger alone: after a failed write it is closed and opened anew. The owner closes it after the node. */
  readonly db: Level;
  readonly signer: Signer;
  readonly trust: LedgerTrust;
  readonly networkId: string;
  /** Identity of the node that proposes the first block; from then on the chain itself says who proposes. */
  readonly proposer: string;
  /** The other nodes. Their clients are used from `start` on. */
  readonly peers: readonly LedgerPeer[];
  /** Nodes that must hold a block before it is final, this one included. */
  readonly quorum: number;
  readonly now: () => Date;
  readonly parameters: () => NetworkParameters | Promise<NetworkParameters>;
  /** How long a submission waits for the quorum. Default 10 s. */
  readonly finalityTimeoutMs?: number;
  /** Transactions that may wait for a block. Default 65,536. */
  readonly maxQueued?: number;
  /** Where the node says why it cannot write. */
  readonly log?: Log;
}

export interface LedgerNode {
  readonly engine: LedgerEngine;
  readonly registrations: readonly [
    Registration<typeof LedgerService>,
    Registration<typeof SmartContractService>,
    Registration<typeof SystemManagementService>,
  ];
  /** Set where the node accepts no more blocks. */
  readonly stopped: Stop | undefined;
  /** Resolves when the node stops accepting blocks, for a bad block or a fork; never where it just closes. */
  readonly halted: Promise<Stop>;
  /** Catches up with the other nodes, then takes and hands on blocks. Until then submissions are refused. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the store and makes a node of it; `start` sets it to work.
 * @throws LedgerStoreFault where the store is corrupt or another network's; RangeError where the quorum cannot be reached
 */
export async function createLedgerNode(options: LedgerNodeOptions): Promise<LedgerNode> {
  const { db, signer, trust, networkId, peers, quorum, now, parameters, log = silentLog } = options;
  if (!Number.isInteger(quorum) || quorum < 1 || quorum > peers.length + 1) {
    throw new RangeError(`a quorum of ${quorum} among ${peers.length + 1} nodes`);
  }
  compileRules([TransactionSchema, BlockHeaderSchema, BlockReceiptSchema]);
  const store = await ChainStore.open(db, networkId, log);
  const chain = new Chain({
    store,
    networkId,
    firstProposer: options.proposer,
    trust: new TrustAtTime(trust),
    finalOnceStored: finalOnceStored(quorum),
  });
  const distribution = new Distribution({ chain, store, peers, quorum, trust, log });
  const follower = new Follower({ chain, distribution, peers, signer, now, log });
  let started = false;
  const engine = new EmbeddedEngine({
    chain,
    distribution,
    signer,
    quorum,
    now,
    log,
    ...(options.finalityTimeoutMs === undefined ? {} : { finalityTimeoutMs: options.finalityTimeoutMs }),
    ...(options.maxQueued === undefined ? {} : { maxQueued: options.maxQueued }),
    stopped: () => (started ? follower.stopped?.why : "starting"),
  });
  const proposing = (): boolean => chain.mayPropose(signer) && chain.trusts(signer, BigInt(now().getTime()));
  const services = { chain, distribution, follower, engine, proposing, parameters };

  return {
    engine,
    registrations: [
      createLedgerService(services),
      createSmartContractService(services),
      createSystemManagementService(services),
    ],
    get stopped() {
      return follower.stopped;
    },
    halted: follower.halted,
    async start() {
      // A proposer whose store was restored from an older copy must not propose those heights a second time.
      await follower.catchUp();
      await distribution.start();
      started = true;
      if (proposing()) distribution.distribute(chain.head.height);
    },
    async close() {
      started = false;
      await follower.close();
      await engine.close();
      await distribution.close();
      await chain.close();
      await store.close();
    },
  };
}
