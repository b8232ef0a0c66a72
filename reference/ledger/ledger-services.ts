// The grey components of Figure 1 as services: DLT infrastructure, smart contract management, system management (clause 6.1).

import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { NetworkParameters } from "../../gen/x1410/v1/ledger_pb.ts";
import { Finality } from "../../gen/x1410/v1/ledger_pb.ts";
import { LedgerService, SmartContractService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { parseContractAddress } from "../communications/address.ts";
import { peerKey } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import type { Chain } from "./chain.ts";
import type { Distribution } from "./distribution.ts";
import type { EmbeddedEngine } from "./embedded-engine.ts";
import type { Follower } from "./follower.ts";
import { HeightWatchClosed } from "./height-watch.ts";

export interface LedgerServicesOptions {
  readonly chain: Chain;
  readonly distribution: Distribution;
  readonly follower: Follower;
  readonly engine: EmbeddedEngine;
  /** Whether this node proposes blocks now. */
  readonly proposing: () => boolean;
  /** Certificates, parameters and configuration of the network and its registry (U4), current at each call. */
  readonly parameters: () => NetworkParameters | Promise<NetworkParameters>;
  /** Block streams that one identity may hold open. Default 16. */
  readonly maxStreams?: number;
}

const MAX_STREAMS = 16;

export function createLedgerService(options: LedgerServicesOptions): Registration<typeof LedgerService> {
  const { chain, distribution, follower, engine } = options;
  const streams = new StreamCounter(options.maxStreams ?? MAX_STREAMS);
  return implement(LedgerService, {
    async submitTransactions({ transactions, wait }, { signal }) {
      const finality = wait === Finality.UNSPECIFIED ? Finality.FINAL : wait;
      return { receipts: await engine.submit(transactions, { wait: finality, signal }) };
    },

    async getHead() {
      const { height } = chain.head;
      const block = height === 0n ? undefined : await chain.block(height);
      if (block?.header === undefined) throw refusal(ErrorReason.BLOCK_NOT_FOUND, "head");
      return { header: block.header, finalHeight: distribution.final.height };
    },

    async *streamBlocks({ fromHeight, follow }, { signal, values }) {
      if (fromHeight > chain.head.height + 1n) throw refusal(ErrorReason.BLOCK_NOT_FOUND, `block ${fromHeight}`);
      const release = streams.acquire(values.get(peerKey).identity);
      try {
        // One block at a time, read when the transport asks for it: a reader that stalls costs one block of memory.
        for (let height = fromHeight; ; height++) {
          if (height > chain.head.height) {
            if (!follow) return;
            if (!(await grows(chain, height, signal))) return;
          }
          const block = await chain.block(height);
          if (block === undefined) throw refusal(ErrorReason.BLOCK_NOT_FOUND, `block ${height}`);
          yield { block, receipts: await distribution.receipts(height) };
        }
      } finally {
        release();
      }
    },

    async getTransaction({ transactionId }) {
      const committed = await engine.get(transactionId);
      if (committed === undefined) throw refusal(ErrorReason.TRANSACTION_NOT_FOUND, transactionId);
      return { receipt: committed.receipt, proof: committed.proof };
    },

    async distributeBlock({ block }, { values }) {
      if (block === undefined) throw refusal(ErrorReason.REQUEST_INVALID, "block");
      return follower.receive(block, values.get(peerKey).identity);
    },
  });
}

export function createSmartContractService(options: LedgerServicesOptions): Registration<typeof SmartContractService> {
  const { chain, engine } = options;
  return implement(SmartContractService, {
    async getContract({ contractAddress }) {
      const { networkId, contractId } = parseContractAddress(contractAddress);
      const contract = networkId === chain.networkId ? await engine.contract(contractId) : undefined;
      if (contract === undefined) throw refusal(ErrorReason.CONTRACT_NOT_FOUND, contractId);
      return { contract };
    },
  });
}

export function createSystemManagementService(
  options: LedgerServicesOptions,
): Registration<typeof SystemManagementService> {
  const { chain, follower, proposing, parameters } = options;
  return implement(SystemManagementService, {
    async getNetworkParameters() {
      const given = await parameters();
      const ledgerNodes = given.ledgerNodes.map((node) => ({
        ...node,
        proposer: node.entity?.identity === chain.proposer,
      }));
      return { parameters: { ...given, ledgerNodes } };
    },

    getNodeStatus() {
      const { stopped } = follower;
      return {
        height: chain.head.height,
        accepting: stopped === undefined,
        stoppedAtHeight: stopped?.height ?? 0n,
        stoppedBecause: stopped?.why ?? "",
        proposer: proposing(),
      };
    },
  });
}

/** Waits for the block of this height; false where the node closes first, which ends streams as if the chain ended. */
async function grows(chain: Chain, height: bigint, signal: AbortSignal): Promise<boolean> {
  try {
    await chain.height.beyond(height - 1n, signal);
    return true;
  } catch (cause) {
    if (cause instanceof HeightWatchClosed) return false;
    throw cause;
  }
}

/** Streams that each identity holds open. */
class StreamCounter {
  readonly #limit: number;
  readonly #open = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  acquire(identity: string): () => void {
    const open = this.#open.get(identity) ?? 0;
    if (open >= this.#limit) throw refusal(ErrorReason.SUBSCRIPTION_LIMIT, "blocks");
    this.#open.set(identity, open + 1);
    return () => {
      const left = (this.#open.get(identity) ?? 1) - 1;
      if (left === 0) this.#open.delete(identity);
      else this.#open.set(identity, left);
    };
  }
}
