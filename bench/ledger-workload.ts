// What a data-sharing management writes on a ledger, for measurements: contracts, accesses under them, usages of those.
import { randomBytes } from "node:crypto";
import type { Signer } from "../reference/envelope/signer.ts";
import { commit } from "../reference/ledger/commitment.ts";
import { signTransaction, type TransactionAction } from "../reference/ledger/transaction.ts";

/** Of ten transactions one makes a contract, six record accesses under it or one like it, three record usages. */
export class Workload {
  readonly #signer: Signer;
  readonly #networkId: string;
  readonly #remembered: number;
  readonly #contracts: string[] = [];
  readonly #accesses: string[] = [];

  /** @param remembered contracts and accesses that later transactions refer to, the newest ones; for what a workload remembers must not grow with the chain */
  constructor(signer: Signer, networkId: string, remembered: number) {
    this.#signer = signer;
    this.#networkId = networkId;
    this.#remembered = remembered;
  }

  /** Signed envelopes. What they refer to is in earlier portions, so that writers may overtake each other; the first makes contracts only. */
  portion(count: number): Uint8Array[] {
    const { length: contracts } = this.#contracts;
    const { length: accesses } = this.#accesses;
    const envelopes = Array.from({ length: count }, (_, index) => {
      const kind = contracts === 0 ? 0 : index % 10;
      if (kind === 0) return this.#createContract();
      if (kind <= 6 || accesses === 0) return this.#recordAccess(contracts);
      return this.#recordUsage(accesses);
    });
    this.#contracts.splice(0, Math.max(0, this.#contracts.length - this.#remembered));
    this.#accesses.splice(0, Math.max(0, this.#accesses.length - this.#remembered));
    return envelopes;
  }

  #createContract(): Uint8Array {
    const contractId = newId();
    this.#contracts.push(contractId);
    return this.#sign({ case: "createContract", value: { contractId, commitments: commitments("signed-policy") } });
  }

  #recordAccess(known: number): Uint8Array {
    const accessId = newId();
    const contractId = this.#contracts[Math.floor(Math.random() * known)] ?? "";
    this.#accesses.push(accessId);
    const value = {
      accessId,
      contractId,
      consumerPseudonym: randomBytes(32),
      commitments: commitments("access-request"),
    };
    return this.#sign({ case: "recordAccess", value });
  }

  #recordUsage(known: number): Uint8Array {
    const accessId = this.#accesses[Math.floor(Math.random() * known)] ?? "";
    return this.#sign({
      case: "recordUsage",
      value: { usageId: newId(), accessId, commitments: commitments("usage") },
    });
  }

  #sign(action: TransactionAction): Uint8Array {
    return signTransaction(this.#signer, this.#networkId, action, new Date()).envelope;
  }
}

function newId(): string {
  return randomBytes(16).toString("hex");
}

function commitments(name: string) {
  return [commit(name, randomBytes(32)).commitment];
}
