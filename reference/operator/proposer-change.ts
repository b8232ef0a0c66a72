// Who proposes the ledger's blocks, changed by the network's operator (clause 6.1, system management): handed over by the proposer, or taken over
// from one that can propose no more. The nodes check the order; what they cannot see, that no final block is left behind, is checked here.
import { X509Certificate } from "node:crypto";
import type { Client } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { Finality, type TransactionReceipt } from "../../gen/x1410/v1/ledger_pb.ts";
import type { LedgerService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import type { Signer } from "../envelope/signer.ts";
import { blockHash, decodeHeader, NO_BLOCK_HASH } from "../ledger/block.ts";
import { sha256 } from "../ledger/merkle.ts";
import { signTransaction } from "../ledger/transaction.ts";

export interface ProposerChangeOptions {
  readonly networkId: string;
  readonly quorum: number;
  /** The operator. */
  readonly signer: Signer;
  readonly nodes: readonly Node[];
  readonly now: () => Date;
  /** For one answer of a node. Default 5 s, which a node that is away costs once. */
  readonly timeoutMs?: number;
}

interface Node {
  readonly identity: string;
  /** As the registry has it: names the key that the node signs blocks with. */
  readonly certificate: Uint8Array;
  readonly ledger: Client<typeof LedgerService>;
  readonly system: Client<typeof SystemManagementService>;
}

/** How a node is; of one that does not answer there is nothing else to tell. */
export interface NodeState {
  readonly identity: string;
  readonly height: bigint;
  readonly hash: Uint8Array;
  readonly accepting: boolean;
  readonly proposer: boolean;
}

/** The change is not in order, and nothing has been changed; the message says what to do instead. */
export class ProposerChangeError extends Error {
  override readonly name = "ProposerChangeError";
}

const TIMEOUT_MS = 5_000;
/** Longer than a node waits for its quorum. */
const SUBMIT_TIMEOUT_MS = 15_000;

export class ProposerChange {
  readonly #options: ProposerChangeOptions;

  constructor(options: ProposerChangeOptions) {
    this.#options = options;
  }

  /** Of every node that answers. */
  async states(): Promise<NodeState[]> {
    const states = await Promise.all(this.#options.nodes.map((node) => this.#state(node)));
    return states.flatMap((state) => state ?? []);
  }

  /**
   * Has the present proposer hand over to this node, under the key that the registry names.
   * @throws ProposerChangeError, or ConnectError OUTCOME_UNKNOWN where it may have happened or not: `states` tells
   */
  async handOver(identity: string): Promise<TransactionReceipt> {
    const next = this.#node(identity);
    const states = await this.states();
    const present = states.find(({ proposer }) => proposer);
    if (present === undefined) {
      throw new ProposerChangeError("no node that answers proposes; --take-over lets another go on without it");
    }
    if (present.identity === identity) throw new ProposerChangeError(`${identity} proposes already`);
    if (states.every((state) => state.identity !== identity || !state.accepting)) {
      throw new ProposerChangeError(`${identity} does not answer, or accepts no blocks; name a node that follows`);
    }
    return this.#submit(this.#node(present.identity), next, new Uint8Array());
  }

  /**
   * Has this node propose from the newest final block on, although the proposer does not say so: it is gone for good, its certificate revoked or
   * its key replaced. Asks for as many nodes as make a block final, so that every final block is on one of them, and for a node that holds
   * the newest block of theirs.
   * @throws ProposerChangeError, or ConnectError OUTCOME_UNKNOWN where it may have happened or not: `states` tells
   */
  async takeOver(identity: string): Promise<TransactionReceipt> {
    const { quorum, nodes } = this.#options;
    const next = this.#node(identity);
    const states = await this.states();
    const present = states.find(({ proposer, accepting }) => proposer && accepting);
    if (present !== undefined) {
      const hint = present.identity === identity ? "nothing is to be done" : "leave out --take-over, or stop it first";
      throw new ProposerChangeError(`${present.identity} proposes; ${hint}`);
    }
    const following = states.filter(({ accepting }) => accepting);
    // Any so many nodes share one with any quorum: no final block is on none of them.
    const needed = nodes.length - quorum + 1;
    if (following.length < needed) {
      throw new ProposerChangeError(
        `${following.length} of ${nodes.length} nodes answer and accept blocks; start them until ${needed} do, or a final block might be lost`,
      );
    }
    const newest = following.reduce((best, state) => (state.height > best.height ? state : best));
    const own = following.find((state) => state.identity === identity);
    if (own === undefined) throw new ProposerChangeError(`${identity} does not answer, or accepts no blocks`);
    if (own.height < newest.height) {
      throw new ProposerChangeError(
        `${identity} holds block ${own.height}, ${newest.identity} holds ${newest.height}; name that one, or wait until both hold the same`,
      );
    }
    return this.#submit(next, next, own.hash);
  }

  async #submit(to: Node, next: Node, afterBlockHash: Uint8Array): Promise<TransactionReceipt> {
    const { signer, networkId, now } = this.#options;
    const { publicKey } = new X509Certificate(next.certificate);
    const publicKeySha256 = sha256(publicKey.export({ type: "spki", format: "der" }));
    const value = { proposer: next.identity, publicKeySha256, afterBlockHash: new Uint8Array(afterBlockHash) };
    const { envelope } = signTransaction(signer, networkId, { case: "changeProposer", value }, now());
    const request = { transactions: [envelope], wait: Finality.FINAL };
    const { receipts } = await to.ledger.submitTransactions(request, { timeoutMs: SUBMIT_TIMEOUT_MS });
    const [receipt] = receipts;
    if (receipt === undefined) throw refusal(ErrorReason.OUTCOME_UNKNOWN, "receipts");
    if (receipt.blockHeight === 0n) {
      throw new ProposerChangeError("the ledger has moved on meanwhile, or does not know this operator; try again");
    }
    return receipt;
  }

  async #state(node: Node): Promise<NodeState | undefined> {
    const options = { timeoutMs: this.#options.timeoutMs ?? TIMEOUT_MS };
    try {
      const { identity, ledger, system } = node;
      const [{ accepting, proposer }, { height, hash }] = await Promise.all([
        system.getNodeStatus({}, options),
        headOf(ledger, options),
      ]);
      return { identity, height, hash, accepting, proposer };
    } catch {
      return undefined;
    }
  }

  #node(identity: string): Node {
    const { nodes } = this.#options;
    const node = nodes.find((one) => one.identity === identity);
    if (node !== undefined) return node;
    const names = nodes.map((one) => one.identity).join(", ");
    throw new ProposerChangeError(`no ledger node ${identity}; there are ${names}`);
  }
}

async function headOf(ledger: Node["ledger"], options: { timeoutMs: number }) {
  try {
    const { header } = await ledger.getHead({}, options);
    const bytes = header?.payload ?? new Uint8Array();
    return { height: decodeHeader(bytes).height, hash: blockHash(bytes) };
  } catch (cause) {
    if (reasonOf(cause) !== ErrorReason.BLOCK_NOT_FOUND) throw cause;
    return { height: 0n, hash: NO_BLOCK_HASH };
  }
}
