// Three nodes of the ledger, each in a process of its own, over mutual TLS: one is killed and catches up, one is given a bad block and says so.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { protoPath } from "grpc-health-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fromPem } from "../../certs/der.ts";
import { createPki, type IdentityFiles } from "../../certs/pki.ts";
import type { Block } from "../../gen/x1410/v1/ledger_pb.ts";
import { LedgerService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { grpcTransport } from "../communications/grpc-transport.ts";
import { serviceFromProto } from "../communications/proto-file.ts";
import { reasonName, reasonOf } from "../communications/refusal.ts";
import { credentialsOf } from "../communications/tls-credentials.ts";
import { createSigner } from "../envelope/signer.ts";
import { decodeHeader, formBlock, headOf, NO_BLOCK_HASH } from "../ledger/block.ts";
import { RemoteEngine } from "../ledger/remote-engine.ts";
import { signTransaction } from "../ledger/transaction.ts";
import { verifyChain } from "../ledger/verify.ts";
import type { Endpoints } from "./doors.ts";
import type { EntityStart } from "./entity-process.ts";
import { NetworkDirectory } from "./network.ts";
import { deploymentName, type EntityPlan, planEntities } from "./plan.ts";

const command = fileURLToPath(new URL("../../bin/x1410.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "x1410-ledger-nodes-"));
const pki = createPki(join(folder, "pki"));
const trust = pki.verifier();
const managementIdentity = `urn:x1410:entity:dssm:${deploymentName}`;
const management = pki.issueIdentity({ role: "dssm", identity: managementIdentity });
const signer = createSigner({ privateKeyPem: management.privateKeyPem, certificateChainPem: management.chainPem });
const networkFile = join(folder, "network.json");
const network = new NetworkDirectory(
  { networkId: deploymentName, quorum: 2, trustAnchors: fromPem("CERTIFICATE", pki.caPem) },
  networkFile,
);
network.revocationLists(fromPem("X509 CRL", pki.crlPem));

/** A node's process; may be killed and started again on the same port. */
class NodeProcess {
  readonly plan: EntityPlan;
  readonly files: IdentityFiles;
  readonly chainPem: string;
  #child: ChildProcess | undefined;
  #port = 0;
  readonly #transports: { close(): void }[] = [];

  constructor(plan: EntityPlan) {
    this.plan = plan;
    const { files, chainPem } = pki.ensureIdentity({ role: "ledger", identity: plan.identity, dnsNames: [] });
    this.files = files;
    this.chainPem = chainPem;
    mkdirSync(join(folder, plan.name));
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [command, "entity"], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    const order: EntityStart = {
      plan: { ...this.plan, port: this.#port },
      directory: join(folder, this.plan.name),
      files: this.files,
      networkFile,
      pkiDirectory: pki.directory,
      accessFile: join(folder, "access.yaml"),
      host: "127.0.0.1",
      revocationRefreshMs: 60_000,
      introspection: "off",
    };
    child.stdin.write(`${JSON.stringify(order)}\n`);
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    const { endpoint } = JSON.parse(String(line)) as Endpoints;
    const { identity, proposer } = this.plan;
    if (this.#port === 0) network.register({ identity, endpoint, certificateChainPem: this.chainPem, proposer });
    this.#port = Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "close");
  }

  /** Resolves with code and signal. */
  get ended(): Promise<unknown[]> {
    return once(this.#child as ChildProcess, "close");
  }

  tellToEnd(): void {
    this.#child?.kill("SIGTERM");
  }

  /** As the management, or as another identity. */
  transport(holder = management): Transport {
    const { identity } = this.plan;
    const options = {
      address: `127.0.0.1:${this.#port}`,
      serverIdentity: identity,
      credentials: credentialsOf(holder),
    };
    const transport = grpcTransport(options);
    this.#transports.push(transport);
    return transport;
  }

  get status() {
    return createClient(SystemManagementService, this.transport()).getNodeStatus({});
  }

  disconnect(): void {
    for (const transport of this.#transports.splice(0)) transport.close();
  }
}

const nodes = planEntities({ basePort: 0, ledgerNodes: 3 })
  .filter(({ kind }) => kind === "ledger")
  .sort((left, right) => left.name.localeCompare(right.name))
  .map((plan) => new NodeProcess(plan));
const [first, second, third] = nodes as [NodeProcess, NodeProcess, NodeProcess];
let engine: RemoteEngine;

beforeAll(async () => {
  await Promise.all(nodes.map((node) => node.start()));
  const ledger = createClient(LedgerService, first.transport());
  engine = new RemoteEngine({ networkId: deploymentName, nodes: [{ ledger, contracts: {} as never }] });
}, 120_000);

afterAll(async () => {
  for (const node of nodes) {
    node.disconnect();
    await node.kill();
  }
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

const sign = (): Uint8Array => {
  const action = {
    case: "createContract",
    value: { contractId: Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex") },
  } as const;
  return signTransaction(signer, deploymentName, action, new Date()).envelope;
};

async function append(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await engine.submit([sign()]);
}

async function* blocksOf(node: NodeProcess): AsyncGenerator<Block> {
  const client: Client<typeof LedgerService> = createClient(LedgerService, node.transport());
  for await (const { block } of client.streamBlocks({ fromHeight: 1n })) if (block !== undefined) yield block;
}

async function reaches(node: NodeProcess, height: bigint): Promise<void> {
  await expect.poll(() => node.status, { interval: 20, timeout: 20_000 }).toMatchObject({ height, accepting: true });
}

test("a node that is killed and started again catches up, and serves the same chain", { timeout: 60_000 }, async () => {
  await append(5);
  await reaches(third, 5n);
  await third.kill();
  await append(10);
  await third.start();
  third.disconnect();
  await reaches(third, 15n);
  expect(await verifyChain(blocksOf(third), { trust })).toMatchObject({ intact: true, transactions: 15n });
  await append(1);
  await reaches(third, 16n);
});

test("a renewed certificate is for the same key: the proposer goes on under it, at once and after a restart", {
  timeout: 60_000,
}, async () => {
  await append(1);
  const before = await newestCertificate();
  // Other names, as when a deployment moves: a reason to issue anew that needs no waiting.
  const { certificatePem } = pki.ensureIdentity({
    role: "ledger",
    identity: first.plan.identity,
    dnsNames: ["moved.test"],
  });
  const [renewed] = fromPem("CERTIFICATE", certificatePem);
  expect(Buffer.compare(before, renewed ?? before)).not.toBe(0);
  const inUse = async (): Promise<boolean> => {
    await append(1);
    return Buffer.compare(await newestCertificate(), renewed ?? before) === 0;
  };
  await expect.poll(inUse, { interval: 100, timeout: 20_000 }).toBe(true);
  await first.kill();
  await first.start();
  await append(1);
  expect(await verifyChain(blocksOf(first), { trust })).toMatchObject({ intact: true });
});

async function newestCertificate(): Promise<Uint8Array> {
  const { header } = await createClient(LedgerService, first.transport()).getHead({});
  return header?.signatures[0]?.certificate?.certificates[0] ?? new Uint8Array();
}

test("a node that is given a bad block stops and says so; reads go on, and so do the others", {
  timeout: 60_000,
}, async () => {
  await append(1);
  const { height } = await engine.head();
  await reaches(second, height);
  const proposer = {
    ...management,
    privateKeyPem: readFileSync(first.files.privateKey, "utf8"),
    chainPem: first.chainPem,
  };
  const key = createSigner({ privateKeyPem: proposer.privateKeyPem, certificateChainPem: proposer.chainPem });
  const ledger = createClient(LedgerService, second.transport(proposer));
  const { header } = await ledger.getHead({});
  const bytes = header?.payload ?? new Uint8Array();
  const { block } = formBlock({
    networkId: deploymentName,
    previous: { ...headOf(decodeHeader(bytes), bytes), hash: NO_BLOCK_HASH },
    transactions: [sign()],
    timeUnixMs: BigInt(Date.now()),
    proposer: key,
  });
  const told = healthOf(second);
  expect((await told.next()).value.status).toBe(1);
  const refused = await ledger.distributeBlock({ block }).catch(ConnectError.from);
  expect(refused).toMatchObject({ code: Code.FailedPrecondition });
  expect(reasonName(reasonOf(refused))).toBe("BLOCK_INVALID");
  expect((await told.next()).value.status).toBe(2);
  const stoppedAtHeight = height + 1n;
  expect(await second.status).toMatchObject({ height, accepting: false, stoppedAtHeight });
  expect((await second.status).stoppedBecause).toContain("link");
  expect(await verifyChain(blocksOf(second), { trust })).toMatchObject({ intact: true });
  await append(1);
  await reaches(third, height + 1n);
  expect((await second.status).height).toBe(height);
});

test("a node that is told to end twice, the second time while it closes, ends in order", async () => {
  const told = healthOf(third);
  expect((await told.next()).value.status).toBe(1);
  const { ended } = third;
  third.tellToEnd();
  await expect(told.next()).rejects.toThrow("the server is shutting down");
  third.tellToEnd();
  expect(await ended).toEqual([0, null]);
});

function healthOf(node: NodeProcess): AsyncIterator<{ status: number }> {
  const health = createClient(serviceFromProto(protoPath, "grpc.health.v1.Health"), node.transport());
  const watch = Reflect.get(health, "watch") as (request: object) => AsyncIterable<{ status: number }>;
  return watch({ service: "" })[Symbol.asyncIterator]();
}
