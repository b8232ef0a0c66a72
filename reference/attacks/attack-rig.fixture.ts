// The whole reference stack, running, with everybody who may attack it: users with accounts and without, entities, certificates that no
// authority would issue. Attacks come over the wire, through the gRPC port or through the capabilities exposure API.

import { createPrivateKey, type KeyObject } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll } from "vitest";
import { readAuthority } from "../../certs/authority-directory.ts";
import { buildCertificate, type CertificateSpec } from "../../certs/certificate.ts";
import { toPem } from "../../certs/der.ts";
import type { Role } from "../../certs/identity.ts";
import { generateKeyPair, privateKeyPem } from "../../certs/key-pair.ts";
import { createPki, type IdentityFiles, type IdentityMaterial, type Pki } from "../../certs/pki.ts";
import { Channels } from "../../conformance/channels.ts";
import { DataConsumer } from "../../conformance/roles/data-consumer.ts";
import { DataProvider, type Shared, type Terms } from "../../conformance/roles/data-provider.ts";
import { signerTrust } from "../../conformance/signer-trust.ts";
import { type Credential, type EntityRole, readTarget, type Target } from "../../conformance/target.ts";
import type { RightsSchema } from "../../gen/x1410/v1/identity_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import type { ChannelOptions } from "../communications/channel-options.ts";
import { connectTransport } from "../communications/connect-transport.ts";
import { type ClosableTransport, grpcTransport } from "../communications/grpc-transport.ts";
import type { Log } from "../communications/log.ts";
import type { TlsCredentials } from "../communications/tls-credentials.ts";
import type { Trust } from "../envelope/verify.ts";
import type { NetworkDirectory } from "../stack/network.ts";
import { launchHere } from "../stack/one-process.ts";
import type { ServerKind } from "../stack/plan.ts";
import { type Launcher, type RunningStack, startStack } from "../stack/stack.ts";

/** The two ports of an entity: what holds at one must hold at the other. */
export const doors = ["gRPC", "exposure API"] as const;
export type Door = (typeof doors)[number];

/** For tables of tests: each role with each of its doors. */
export const everyDoor: readonly [EntityRole, Door][] = (["dssm", "kss", "dss"] as const).flatMap((role) =>
  doors.map((door): [EntityRole, Door] => [role, door]),
);

export const asJson = (options: ChannelOptions): ClosableTransport =>
  connectTransport({ ...options, protocol: "connect", json: true });

export const openers = { gRPC: grpcTransport, "exposure API": asJson } as const;

export interface RigOptions {
  readonly introspection?: "off" | "required";
  readonly revocationRefreshMs?: number;
  readonly ledgerNodes?: number;
  readonly launch?: Launcher;
}

/** One line that an entity has logged. */
export interface LogLine {
  readonly level: "info" | "warn" | "error";
  readonly event: string;
  readonly fields: Record<string, unknown> | undefined;
}

/** What is wrong with a certificate of the trusted authority; the rest of it is right. */
export type Faults = Partial<Omit<CertificateSpec, "publicKey" | "issuer" | "extendedKeyUsage">> & {
  /** By default clientAuth; null for none. */
  readonly extendedKeyUsage?: readonly string[] | null;
  /** Who signs it; by default the issuing authority. */
  readonly issuer?: { readonly privateKey: KeyObject; readonly certificate: Uint8Array };
  /** What comes after it in the chain, PEM; by default the issuing authority. */
  readonly intermediates?: string;
};

export interface Forged extends Credential {
  readonly der: Uint8Array;
  readonly privateKey: KeyObject;
}

const silent = () => {};

export class AttackRig {
  readonly stack: RunningStack;
  readonly directory: string;
  readonly network: NetworkDirectory;
  readonly target: Target;
  readonly pki: Pki;
  readonly trust: Trust;
  readonly logged: readonly LogLine[];
  readonly #closers: (() => void)[] = [];
  #users = 0;

  private constructor(
    directory: string,
    stack: RunningStack,
    network: NetworkDirectory,
    target: Target,
    logged: readonly LogLine[],
  ) {
    this.directory = directory;
    this.stack = stack;
    this.network = network;
    this.target = target;
    this.logged = logged;
    // The same authority as that of the stack: its log is shared among processes.
    this.pki = createPki(join(stack.dataDirectory, "pki"));
    this.trust = signerTrust(target);
  }

  static async start(options: RigOptions = {}): Promise<AttackRig> {
    const directory = mkdtempSync(join(tmpdir(), "x1410-attacks-"));
    const logged: LogLine[] = [];
    const line = (level: LogLine["level"]) => (event: string, fields?: Record<string, unknown>) =>
      void logged.push({ level, event, fields });
    const log: Log = { info: line("info"), warn: line("warn"), error: line("error") };
    let network: NetworkDirectory | undefined;
    const { launch = launchHere } = options;
    try {
      const stack = await startStack(
        {
          dataDirectory: join(directory, "data"),
          host: "127.0.0.1",
          basePort: 0,
          ledgerNodes: options.ledgerNodes ?? 1,
          revocationRefreshMs: options.revocationRefreshMs ?? 60_000,
          introspection: options.introspection ?? "off",
          log,
        },
        (given) => {
          network = given.network;
          return launch(given);
        },
      );
      const target = await readTarget(stack.targetFile);
      return new AttackRig(directory, stack, network as NetworkDirectory, target, logged);
    } catch (cause) {
      rmSync(directory, { recursive: true, force: true });
      throw cause;
    }
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) close();
    await this.stack.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Closed with the rig. */
  keep<T extends { close(): void }>(opened: T): T {
    this.#closers.push(() => opened.close());
    return opened;
  }

  endpoint(kind: ServerKind | "ledger-1", door: Door = "gRPC"): string {
    const entity = this.#entity(kind);
    return door === "gRPC" ? entity.endpoint : (entity.secondEndpoint ?? "");
  }

  identity(kind: ServerKind): string {
    return this.#entity(kind).identity;
  }

  /** The target as seen through a door. */
  through(door: Door): Target {
    const at = (role: EntityRole) => ({ identity: this.identity(role), endpoint: this.endpoint(role, door) });
    return { ...this.target, entities: { dssm: at("dssm"), kss: at("kss"), dss: at("dss") } };
  }

  /** A certificate of the deployment's authority. */
  issue(role: Role, name: string, validityMs?: number): Credential & IdentityMaterial {
    const identity = role === "user" ? `urn:x1410:user:${name}` : `urn:x1410:entity:${role}:${name}`;
    const material = this.pki.issueIdentity({ role, identity, ...(validityMs === undefined ? {} : { validityMs }) });
    return { ...material, certificateChainPem: material.chainPem };
  }

  /** The certificate that an entity of the stack itself shows. */
  credentialOf(kind: ServerKind | "operator"): Credential {
    return credentialIn(kind === "operator" ? this.stack.operator.files : this.#entity(kind).files);
  }

  /** A certificate signed by the trusted authority that it would not have issued. */
  forge(faults: Faults = {}): Forged {
    const { issuer = this.authority, intermediates = this.pki.intermediate.pem, ...others } = faults;
    const { extendedKeyUsage = ["clientAuth"], ...rest } = others;
    const { privateKey, publicKey } = generateKeyPair();
    const der = buildCertificate({
      subject: { commonName: "mallory" },
      publicKey,
      issuer,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 600_000),
      basicConstraints: { ca: false },
      keyUsage: ["digitalSignature"],
      ...(extendedKeyUsage === null ? {} : { extendedKeyUsage }),
      subjectAltNames: [{ type: "uri", value: "urn:x1410:user:mallory" }],
      ...rest,
    });
    return {
      certificateChainPem: toPem("CERTIFICATE", der) + intermediates,
      privateKeyPem: privateKeyPem(privateKey),
      der,
      privateKey,
    };
  }

  /** Key and certificate of the issuing authority, taken from its directory. */
  get authority(): { privateKey: KeyObject; certificate: Uint8Array } {
    const { privateKey, certificate } = readAuthority(join(this.stack.dataDirectory, "pki", "intermediate"));
    return { privateKey, certificate: certificate.der };
  }

  /** A client of an entity under any certificate. */
  client<S extends DescService>(
    service: S,
    kind: ServerKind,
    credential: Credential,
    door: Door = "gRPC",
    endpoint = this.endpoint(kind, door),
  ): Client<S> {
    const transport = openers[door]({
      address: endpoint,
      serverIdentity: this.identity(kind),
      credentials: this.tlsCredentials(credential),
    });
    return createClient(service, this.keep(transport));
  }

  tlsCredentials({ certificateChainPem, privateKeyPem: privateKey }: Credential): TlsCredentials {
    return {
      privateKey,
      certificateChain: certificateChainPem,
      authorities: [this.target.trustAnchorsPem],
      revocationLists: [this.target.revocationListsPem],
    };
  }

  provider(door: Door = "gRPC", credential = this.target.provider): DataProvider {
    return this.#user(DataProvider, door, credential);
  }

  consumer(door: Door = "gRPC", credential = this.target.consumer): DataConsumer {
    return this.#user(DataConsumer, door, credential);
  }

  /** A user of a fresh name with an account. */
  async newcomer(
    rights: MessageInitShape<typeof RightsSchema> = { publish: true, access: true },
    attributes: { industries?: string[]; country?: string } = {},
  ): Promise<Credential & IdentityMaterial> {
    const credential = this.issue("user", `newcomer-${++this.#users}`);
    const account = {
      identity: credential.identity,
      displayName: "Newcomer",
      rights,
      attributes: { industries: ["isic:j61"], country: "CH", organization: "Newcomers", ...attributes },
    };
    await this.operatorAccounts.createAccount({ account });
    return credential;
  }

  get operatorAccounts(): Client<typeof UserAccountService> {
    return this.client(UserAccountService, "dssm", this.credentialOf("operator"));
  }

  /** Data shared as in Figure 3, and a consumer who has found it, both in session. */
  async scene(
    door: Door = "gRPC",
    terms: Terms | undefined = { accessTimes: 5, readOnly: true },
    plaintext: Uint8Array = Buffer.from("msisdn,traffic\n+41791234567,12\n"),
  ): Promise<Scene> {
    const provider = this.provider(door);
    const consumer = this.consumer(door);
    const shared = await provider.share(plaintext, terms, []);
    await consumer.authenticate(silent);
    return { provider, consumer, shared };
  }

  #user<U extends DataProvider | DataConsumer>(
    role: new (target: Target, credential: Credential, channels: Channels, trust: Trust) => U,
    door: Door,
    credential: Credential,
  ): U {
    const target = this.through(door);
    return this.keep(new role(target, credential, new Channels(target, credential, openers[door]), this.trust));
  }

  #entity(kind: ServerKind | "ledger-1") {
    const found = this.stack.entities.find((entity) => entity.kind === kind || entity.name === kind);
    if (found === undefined) throw new Error(`the stack has no ${kind}`);
    return found;
  }
}

export interface Scene {
  readonly provider: DataProvider;
  readonly consumer: DataConsumer;
  readonly shared: Shared;
}

/** One stack for the tests of a file. */
export function rigForFile(options: RigOptions = {}): () => AttackRig {
  let rig: AttackRig | undefined;
  beforeAll(async () => {
    rig = await AttackRig.start(options);
  });
  afterAll(() => rig?.close());
  return () => {
    if (rig === undefined) throw new Error("the stack has not started");
    return rig;
  };
}

export function credentialIn(files: IdentityFiles): Credential {
  return {
    certificateChainPem: readFileSync(files.chain, "utf8"),
    privateKeyPem: readFileSync(files.privateKey, "utf8"),
  };
}

export function privateKeyOf({ privateKeyPem: pem }: Credential): KeyObject {
  return createPrivateKey(pem);
}

/** What the entity granted to the consumer for the shared data. */
export async function grantFor({ consumer, shared }: Scene) {
  const published = await consumer.lookUp(shared.contractAddress);
  const found = consumer.checkPublication(published);
  const request = consumer.signRequest(consumer.accessRequest(found));
  return { found, request, grant: await consumer.requestAccess(request) };
}
