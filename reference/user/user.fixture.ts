// A network in memory, for tests of the users' sides: a PKI, a management, servers that the test implements, and a ledger of one block for
// each transaction.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type DescService, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { Pki } from "../../certs/pki.ts";
import { SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntityKind } from "../../gen/x1410/v1/identity_pb.ts";
import {
  type CommitmentOpening,
  type InclusionProof,
  NetworkParametersSchema,
  type Transaction,
  TransactionSchema,
} from "../../gen/x1410/v1/ledger_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { pkiFixture } from "../communications/pki.fixture.ts";
import { refusal } from "../communications/refusal.ts";
import type { Registration } from "../communications/service.ts";
import { signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import { beforeFirstBlock, formBlock, proofsOf } from "../ledger/block.ts";
import { commit } from "../ledger/commitment.ts";
import type { LedgerTrust } from "../ledger/trust-at-time.ts";
import type { ConnectedUser } from "./connected-user.ts";
import type { Patience } from "./repetition.ts";
import { StateDirectory } from "./state-directory.ts";

export const management = "urn:x1410:entity:dssm:one";
export const keyStorage = "urn:x1410:entity:kss:one";
export const dataStorage = "urn:x1410:entity:dss:one";
export const ledgerNode = "urn:x1410:entity:ledger:one";

/** Tries thrice and does not wait. */
export const impatient: Patience = {
  attempts: 3,
  firstPauseMs: 0,
  longestPauseMs: 0,
  pause: () => Promise.resolve(),
};

export interface UserFixture {
  readonly trust: LedgerTrust;
  readonly pki: Pki;
  /** The same for the same name. @param validityMs of the certificate, where this is the first time */
  signer(role: "user" | "dssm" | "ledger", name: string, validityMs?: number): Signer;
  /** A user whose clients reach these services, by the identity of the entity. */
  user(name: string, services: Readonly<Record<string, readonly Registration[]>>): ConnectedUser;
  /** What the management answers about a transaction that is on the ledger. */
  recorded(
    action: Transaction["action"],
    committed: Readonly<Record<string, Uint8Array>>,
  ): { proof: InclusionProof; openings: CommitmentOpening[] };
  state(): StateDirectory;
  remove(): void;
}

export function userFixture(): UserFixture {
  const pki = pkiFixture();
  const directory = mkdtempSync(join(tmpdir(), "x1410-user-"));
  const trust = pki.pki.verifier();
  const signers = new Map<string, Signer>();
  const signer: UserFixture["signer"] = (role, name, validityMs) => {
    const known = signers.get(`${role}:${name}`);
    if (known !== undefined) return known;
    const { privateKeyPem, chainPem } = pki.issue(role, name, validityMs);
    const made = createSigner({ privateKeyPem, certificateChainPem: chainPem });
    signers.set(`${role}:${name}`, made);
    return made;
  };
  let states = 0;
  return {
    trust,
    pki: pki.pki,
    signer,
    user: (name, services) => connectedUser(signer("user", name), trust, services),
    recorded: (action, committed) => recorded(action, committed, signer("dssm", "one"), signer("ledger", "one")),
    state: () => StateDirectory.open(join(directory, `state-${states++}`)),
    remove() {
      pki.remove();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function connectedUser(
  signer: Signer,
  trust: LedgerTrust,
  services: Readonly<Record<string, readonly Registration[]>>,
): ConnectedUser {
  const client = <S extends DescService>(service: S, identity: string): Client<S> => {
    const registration = services[identity]?.find((found) => found.service === service);
    if (registration === undefined) throw refusal(ErrorReason.ENTITY_NOT_REGISTERED, identity);
    return bindDirect(registration as unknown as Registration<S>, { peer: directPeer(signer.identity) });
  };
  let session = 1;
  return {
    identity: signer.identity,
    signer,
    trust,
    managementIdentity: management,
    network: create(NetworkParametersSchema, {
      networkId: "test",
      ledgerNodes: [{ entity: { identity: ledgerNode, kind: EntityKind.LEDGER }, proposer: true }],
      quorum: 1,
      entities: [
        { identity: keyStorage, kind: EntityKind.KSS },
        { identity: dataStorage, kind: EntityKind.DSS },
      ],
    }),
    client,
    management: (service) => client(service, management),
    inSession: (call) => call({ headers: { "x1410-session": `session-${session}` } }),
    get sessionHeaders() {
      return { headers: { "x1410-session": `session-${session}` } };
    },
    async renewSession() {
      session++;
    },
  };
}

function recorded(
  action: Transaction["action"],
  committed: Readonly<Record<string, Uint8Array>>,
  manager: Signer,
  proposer: Signer,
): { proof: InclusionProof; openings: CommitmentOpening[] } {
  const commitments = Object.entries(committed).map(([name, value]) => commit(name, value));
  if (action.value !== undefined && "commitments" in action.value)
    action.value.commitments = commitments.map(({ commitment }) => commitment);
  const transaction = create(TransactionSchema, {
    networkId: "test",
    signer: manager.identity,
    nonce: new Uint8Array(16),
    issuedAt: timestampFromDate(new Date()),
    action,
  });
  const envelope = toBinary(SignedEnvelopeSchema, signMessage(manager, TransactionSchema, transaction));
  const { block } = formBlock({
    networkId: "test",
    previous: beforeFirstBlock,
    transactions: [envelope],
    timeUnixMs: BigInt(Date.now()),
    proposer,
  });
  return { proof: proofsOf(block)(0), openings: commitments.map(({ opening }) => opening) };
}

/** What `refusal` made, as code and reason are compared. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it should be refused");
    },
    (cause: unknown) => cause,
  );
}
