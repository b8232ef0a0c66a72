// Ledger nodes under load in a process of their own, to be killed at any instant. Writes the id of each acknowledged transaction on standard
// output, one on a line, the moment it is acknowledged. Arguments: the folder for the databases, the file with keys and certificates.
import { randomBytes } from "node:crypto";
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import { Level } from "level";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { NetworkParametersSchema, TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { createSigner, type SignerMaterial } from "../envelope/signer.ts";
import { ledgerDatabase } from "./chain-store.ts";
import { createLedgerNode, type LedgerNode } from "./server.ts";
import { signTransaction } from "./transaction.ts";

export interface CrashMaterial {
  readonly networkId: string;
  /** The first proposes. */
  readonly nodes: readonly SignerMaterial[];
  readonly quorum: number;
  readonly management: SignerMaterial;
  readonly anchorsPem: string;
  readonly crlsPem: string;
}

export interface CrashNodes {
  /** In the order of the material. */
  readonly nodes: readonly LedgerNode[];
  close(): Promise<void>;
}

/** Opens all nodes of the material on the databases in this folder and sets them to work, the proposer last. */
export async function openNodes(folder: string, material: CrashMaterial): Promise<CrashNodes> {
  const { networkId, anchorsPem, crlsPem, quorum } = material;
  const signers = material.nodes.map(createSigner);
  const trust = new ChainVerifier({ trustAnchors: anchorsPem, intermediates: anchorsPem, crls: crlsPem });
  const databases = signers.map((_, index) => new Level<string, string>(join(folder, `n${index + 1}`), ledgerDatabase));
  const nodes: LedgerNode[] = [];
  for (const [index, signer] of signers.entries()) {
    const node = await createLedgerNode({
      db: databases[index] as Level<string, string>,
      signer,
      trust,
      networkId,
      proposer: signers[0]?.identity ?? "",
      peers: signers.flatMap((other, at) =>
        at === index
          ? []
          : [
              {
                identity: other.identity,
                get ledger() {
                  return ledgerOf(nodes[at], signer.identity);
                },
              },
            ],
      ),
      quorum,
      now: () => new Date(),
      parameters: () => create(NetworkParametersSchema, { networkId, quorum }),
    });
    nodes.push(node);
  }
  for (const node of [...nodes].reverse()) await node.start();
  return {
    nodes,
    async close() {
      for (const node of nodes) await node.close();
      for (const db of databases) await db.close();
    },
  };
}

function ledgerOf(node: LedgerNode | undefined, caller: string) {
  if (node === undefined) throw new TypeError("not created yet");
  return bindDirect(node.registrations[0], { peer: directPeer(caller) });
}

const WRITERS = 8;

async function writeForEver(folder: string, material: CrashMaterial): Promise<void> {
  const management = createSigner(material.management);
  const [proposer] = (await openNodes(folder, material)).nodes;
  const write = async (): Promise<never> => {
    for (;;) {
      const contractId = randomBytes(16).toString("hex");
      const action = { case: "createContract", value: { contractId } } as const;
      const signed = signTransaction(management, material.networkId, action, new Date());
      const [receipt] = (await proposer?.engine.submit([signed.envelope])) ?? [];
      // Synchronous: an acknowledgement that was given must not sit in a buffer of a process that is being killed.
      if (receipt?.outcome === TransactionOutcome.ACCEPTED) writeSync(1, `${signed.transactionId} ${contractId}\n`);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder = "", file = ""] = process.argv.slice(2);
  await writeForEver(folder, JSON.parse(readFileSync(file, "utf8")) as CrashMaterial);
}
