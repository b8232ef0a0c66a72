// A ledger node under load in a process of its own, to be killed at any instant. Writes the id of each acknowledged transaction on standard
// output, one on a line, the moment it is acknowledged. Arguments: the database folder, the file with keys and certificates.
import { randomBytes } from "node:crypto";
import { readFileSync, writeSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { Level } from "level";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { NetworkParametersSchema, TransactionOutcome } from "../../gen/x1410/v1/ledger_pb.ts";
import { createSigner, type SignerMaterial } from "../envelope/signer.ts";
import { createLedgerNode } from "./server.ts";
import { signTransaction } from "./transaction.ts";

export interface CrashMaterial {
  readonly networkId: string;
  readonly node: SignerMaterial;
  readonly management: SignerMaterial;
  readonly anchorsPem: string;
  readonly crlsPem: string;
}

const WRITERS = 8;
const [folder = "", file = ""] = process.argv.slice(2);
const material = JSON.parse(readFileSync(file, "utf8")) as CrashMaterial;
const { networkId, anchorsPem, crlsPem } = material;
const signer = createSigner(material.node);
const management = createSigner(material.management);
const trust = new ChainVerifier({ trustAnchors: anchorsPem, intermediates: anchorsPem, crls: crlsPem });
const node = await createLedgerNode({
  db: new Level(folder),
  signer,
  trust,
  networkId,
  proposer: signer.identity,
  peers: [],
  quorum: 1,
  now: () => new Date(),
  parameters: () => create(NetworkParametersSchema, { networkId, quorum: 1 }),
});
await node.start();

async function write(): Promise<never> {
  for (;;) {
    const contractId = randomBytes(16).toString("hex");
    const signed = signTransaction(
      management,
      networkId,
      { case: "createContract", value: { contractId } },
      new Date(),
    );
    const [receipt] = await node.engine.submit([signed.envelope]);
    // Synchronous: an acknowledgement that was given must not sit in a buffer of a process that is being killed.
    if (receipt?.outcome === TransactionOutcome.ACCEPTED) writeSync(1, `${signed.transactionId} ${contractId}\n`);
  }
}

await Promise.all(Array.from({ length: WRITERS }, write));
