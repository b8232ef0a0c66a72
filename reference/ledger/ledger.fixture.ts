// Ledger networks in a temporary directory, bound inside the process, for tests.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Level } from "level";
import { fingerprintOf } from "../../certs/identity.ts";
import { NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { type PkiFixture, pkiFixture } from "../communications/pki.fixture.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import { ledgerDatabase, type storedParts } from "./chain-store.ts";
import type { LedgerPeer } from "./distribution.ts";
import type { RemoteNode } from "./remote-engine.ts";
import { createLedgerNode, type LedgerNode, type LedgerNodeOptions } from "./server.ts";
import type { LedgerTrust } from "./trust-at-time.ts";

export const networkId = "test.net";

export function signerOf({ privateKeyPem, chainPem }: { privateKeyPem: string; chainPem: string }): Signer {
  return createSigner({ privateKeyPem, certificateChainPem: chainPem });
}

export const hexId = (): string => randomBytes(16).toString("hex");

export type StoredParts = ReturnType<typeof storedParts>;

/** One node of a fixture: may be stopped and started again, on the same database. */
export interface FixtureNode {
  readonly name: string;
  readonly identity: string;
  readonly directory: string;
  readonly signer: Signer;
  readonly db: Level;
  /** Undefined while it is down; calls to it then fail as they would on the network. */
  readonly running: LedgerNode | undefined;
  start(change?: Partial<LedgerNodeOptions>): Promise<LedgerNode>;
  stop(): Promise<void>;
}

type LedgerRole = "dssm" | "ledger" | "operator" | "user";

/** A PKI for the ledgers of one test file: making one takes longer than most tests. */
export interface LedgerIdentities {
  /** Of the authorities, for those that read their files. */
  readonly pkiDirectory: string;
  readonly trust: LedgerTrust;
  /** The signer of this role and name, always the same. */
  signer(role: LedgerRole, name: string): Signer;
  /** Another signer of the same identity, with a key and certificate of its own. */
  renewed(role: LedgerRole, name: string, validityMs?: number): Signer;
  /** A trust store with the lists of now, which learns of later revocations when it is told. */
  separateTrust(): LedgerTrust & { learn(): void };
  /** From now on nobody lets in what this signer signs, but for those with a trust store of their own. */
  revoke(signer: Signer): void;
  remove(): void;
}

export function ledgerIdentities(): LedgerIdentities {
  const fixture: PkiFixture = pkiFixture();
  const signers = new Map<string, Signer>();
  const trust = fixture.pki.verifier();
  return {
    pkiDirectory: fixture.pki.directory,
    trust,
    signer(role, name) {
      const known = signers.get(`${role} ${name}`) ?? signerOf(fixture.issue(role, name));
      signers.set(`${role} ${name}`, known);
      return known;
    },
    renewed: (role, name, validityMs) => signerOf(fixture.issue(role, name, validityMs)),
    separateTrust() {
      const own = fixture.pki.verifier();
      return {
        verify: (leaf) => own.verify(leaf),
        verifyAt: (leaf, at, graceMs) => own.verifyAt(leaf, at, graceMs),
        learn: () => own.update({ crls: fixture.pki.crlPem }),
      };
    },
    revoke({ certificate: { certificates } }) {
      fixture.pki.intermediate.revoke(fingerprintOf(certificates[0] ?? new Uint8Array()));
      trust.update({ crls: fixture.pki.crlPem });
    },
    remove: fixture.remove,
  };
}

export interface LedgerFixture {
  readonly identities: LedgerIdentities;
  readonly directory: string;
  readonly nodes: readonly FixtureNode[];
  readonly trust: LedgerTrust;
  readonly management: Signer;
  /** A client of a node, as `caller`. */
  remote(node: FixtureNode, caller: string): RemoteNode;
  close(): Promise<void>;
}

export interface LedgerFixtureOptions {
  readonly identities: LedgerIdentities;
  readonly count: number;
  readonly quorum: number;
  readonly now?: () => Date;
  /** Where the databases go; a temporary folder where it is left out. */
  readonly folder?: string;
}

export function ledgerFixture(options: LedgerFixtureOptions): LedgerFixture {
  const { identities, count, quorum, now = () => new Date() } = options;
  const { trust } = identities;
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "x1410-ledger-"));
  const remote = (node: FixtureNode, caller: string): RemoteNode => {
    const options = { peer: directPeer(caller) };
    return {
      get ledger() {
        return bindDirect(live(node).registrations[0], options);
      },
      get contracts() {
        return bindDirect(live(node).registrations[1], options);
      },
    };
  };
  const nodes: FixtureNode[] = Array.from({ length: count }, (_, index) => {
    const name = `n${index + 1}`;
    const signer = identities.signer("ledger", name);
    const directory = join(folder, name);
    let db = new Level(directory, ledgerDatabase);
    let running: LedgerNode | undefined;
    return {
      name,
      identity: signer.identity,
      directory,
      signer,
      get db() {
        return db;
      },
      get running() {
        return running;
      },
      async start(change = {}) {
        if (db.status === "closed") db = new Level(directory, ledgerDatabase);
        const others = nodes.filter((other) => other.name !== name);
        const peers = others.map(
          (other): LedgerPeer => ({
            identity: other.identity,
            get ledger() {
              return remote(other, signer.identity).ledger;
            },
          }),
        );
        const parameters = () => create(NetworkParametersSchema, { networkId, quorum });
        const proposer = nodes[0]?.identity ?? "";
        const options = { db, signer, trust, networkId, proposer, peers, quorum, now, parameters, ...change };
        const node = await createLedgerNode(options);
        running = node;
        await node.start();
        return node;
      },
      async stop() {
        const node = running;
        running = undefined;
        await node?.close();
        await db.close();
      },
    };
  });
  return {
    identities,
    directory: folder,
    nodes,
    trust,
    management: identities.signer("dssm", "m"),
    remote,
    async close() {
      for (const node of nodes) await node.stop();
      if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Puts bytes where a block of this height is, or would be, with everything right but the block itself. */
export async function storeBlock({ blocks }: StoredParts, height: bigint, bytes: Uint8Array): Promise<void> {
  await blocks.open();
  const { key, value } = await blocks.write(height, bytes);
  await blocks.index.put(key, value);
  await blocks.close();
}

export async function storedBlock({ blocks }: StoredParts, height: bigint): Promise<Uint8Array> {
  await blocks.open();
  const bytes = await blocks.get(height);
  await blocks.close();
  if (bytes === undefined) throw new RangeError(`no block ${height}`);
  return bytes;
}

function live({ running, name }: FixtureNode): LedgerNode {
  if (running === undefined) throw new ConnectError(`${name} is down`, Code.Unavailable);
  return running;
}
