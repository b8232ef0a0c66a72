// The reference stack as one thing: creates PKI and data directory at first start, starts every entity, registers it, makes the first
// users, and stops it all again.
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { ConnectError, createClient } from "@connectrpc/connect";
import { isMap, parseDocument, stringify } from "yaml";
import { fromPem } from "../../certs/der.ts";
import { readIfPresent, writeDurably } from "../../certs/durable-file.ts";
import {
  createPki,
  type IdentityFiles,
  type IdentityMaterial,
  type IdentityRequest,
  isPki,
  type Pki,
} from "../../certs/pki.ts";
import { PkiError } from "../../certs/pki-error.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { grpcTransport } from "../communications/grpc-transport.ts";
import type { Log } from "../communications/log.ts";
import { createPreSharedKeyFile, readPreSharedKeyFile } from "../communications/pre-shared-key-file.ts";
import { reasonOf } from "../communications/refusal.ts";
import { reachableAddress } from "../communications/server.ts";
import { repeat } from "../store/recurring-task.ts";
import { type ProfileFile, profileText } from "../user/profile.ts";
import { type PskServer, writePskFile } from "../user/psk-file.ts";
import { DataDirectory, DataDirectoryError } from "./data-directory.ts";
import { type Endpoints, preSharedKeyPath } from "./doors.ts";
import { NetworkDirectory } from "./network.ts";
import { deploymentName, type EntityPlan, planEntities, publicationPort, type ServerKind } from "./plan.ts";
import type { KeyRotation } from "./start-entity.ts";

export interface StackOptions {
  readonly dataDirectory: string;
  readonly host: string;
  readonly basePort: number;
  readonly ledgerNodes: number;
  readonly revocationRefreshMs: number;
  /** Whether key storage asks token management about each token (F4.13.2). */
  readonly introspection: "off" | "required";
  readonly rotation?: KeyRotation;
  /** Whether DSSM, KSS and DSS open a port for pre-shared keys (AAC1); default no. */
  readonly preSharedKeys?: boolean;
  readonly log: Log;
  /** Ends the start: what has been started is stopped, and the start rejects. */
  readonly signal?: AbortSignal;
}

/** Where a started entity is. */
export interface Started extends Endpoints {
  close(): Promise<void>;
  /** Resolves when the entity has ended by itself, which it should not; never where it lives in this process. */
  readonly ended: Promise<string>;
}

export interface Launch {
  readonly plan: EntityPlan;
  readonly directory: string;
  readonly files: IdentityFiles;
  readonly network: NetworkDirectory;
  readonly networkFile: string;
  readonly pkiDirectory: string;
  readonly accessFile: string;
  readonly options: StackOptions;
}

/** Starts one entity: in this process, or in one of its own. */
export type Launcher = (launch: Launch) => Promise<Started>;

export interface RunningStack {
  readonly dataDirectory: string;
  readonly entities: readonly (EntityPlan & Started & { readonly files: IdentityFiles })[];
  readonly users: Readonly<
    Record<UserName, { readonly identity: string; readonly files: IdentityFiles; readonly profile: string }>
  >;
  readonly operator: { readonly identity: string; readonly files: IdentityFiles; readonly profile: string };
  /** A target file for the conformance kit that names this stack. */
  readonly targetFile: string;
  readonly trustAnchor: string;
  /** Resolves with the reason when an entity ends by itself. */
  readonly ended: Promise<string>;
  /** Issues anew what is about to expire or was revoked; entities take it over without a restart. Happens daily by itself. */
  renewCertificates(): void;
  close(): Promise<void>;
}

/** Certificates are renewed weeks before they end. */
const renewalIntervalMs = 24 * 60 * 60_000;

const userNames = ["provider", "consumer"] as const;
export type UserName = (typeof userNames)[number];

export async function startStack(options: StackOptions, launch: Launcher): Promise<RunningStack> {
  const directory = await DataDirectory.open(options.dataDirectory);
  const closers: (() => Promise<void> | void)[] = [];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    const stack = await start(directory, options, launch, closers);
    return {
      ...stack,
      close: async () => {
        await close();
        await directory.release();
      },
    };
  } catch (cause) {
    await close();
    await directory.abandon();
    throw cause;
  }
}

async function start(
  directory: DataDirectory,
  options: StackOptions,
  launch: Launcher,
  closers: (() => Promise<void> | void)[],
): Promise<Omit<RunningStack, "close">> {
  const pki = openPki(directory, options);
  const plans = planEntities(options);
  const quorum = Math.floor(options.ledgerNodes / 2) + 1;
  const trustAnchors = fromPem("CERTIFICATE", pki.caPem);
  const network = new NetworkDirectory({ networkId: deploymentName, quorum, trustAnchors }, directory.network);
  network.revocationLists(fromPem("X509 CRL", pki.crlPem));
  const entities: (EntityPlan & Started & { files: IdentityFiles })[] = [];
  for (const plan of plans) {
    options.signal?.throwIfAborted();
    const { files, chainPem } = entityIdentity(pki, plan, options.host);
    const folder = directory.entity(plan.name);
    if (plan.pskPort !== undefined) createPreSharedKeyFile(preSharedKeyPath(folder), userNames.map(userIdentity));
    const started = await launch({
      plan,
      directory: folder,
      files,
      network,
      networkFile: directory.network,
      pkiDirectory: directory.pki,
      accessFile: directory.access,
      options,
    });
    closers.push(() => started.close());
    network.register({
      identity: plan.identity,
      endpoint: started.endpoint,
      certificateChainPem: chainPem,
      proposer: plan.proposer,
      ...(plan.kind !== "ca" && started.secondEndpoint !== undefined && { exposureEndpoint: started.secondEndpoint }),
    });
    entities.push({ ...plan, ...started, files });
  }
  const dssm = endpointOf(entities, "dssm");
  const operatorMaterial = pki.ensureIdentity(operatorRequest);
  const operator = { ...operatorMaterial, profile: writeProfile(directory, "operator", operatorMaterial.files, dssm) };
  const users = await makeUsers(pki, directory, dssm, operator);
  if (options.preSharedKeys) writePskFiles(directory, entities);
  const renewCertificates = () => {
    for (const entity of entities) network.renew(entity.identity, entityIdentity(pki, entity, options.host).chainPem);
    for (const name of userNames) pki.ensureIdentity({ role: "user", identity: userIdentity(name) });
    pki.ensureIdentity(operatorRequest);
    network.revocationLists(fromPem("X509 CRL", pki.crlPem));
  };
  const renewal = repeat("renew certificates", renewalIntervalMs, async () => renewCertificates(), options.log);
  closers.push(() => renewal.stop());
  const targetFile = join(directory.path, "target.yaml");
  const target = targetOf(directory, entities, users, operator, options.revocationRefreshMs);
  writeDurably(targetFile, targetText(target, readIfPresent(targetFile)?.toString()), 0o644);
  return {
    dataDirectory: directory.path,
    entities,
    users,
    operator,
    targetFile,
    trustAnchor: operator.files.ca,
    ended: Promise.race(entities.map(({ ended }) => ended)),
    renewCertificates,
  };
}

const operatorRequest: IdentityRequest = {
  role: "operator",
  identity: `urn:x1410:entity:operator:${deploymentName}`,
};

function userIdentity(name: UserName): string {
  return `urn:x1410:user:${name}`;
}

/** At the first start on fixed ports certificates are told where to find lists and responders; a PKI made beforehand knows where. */
function openPki(directory: DataDirectory, { host, basePort }: StackOptions): Pki {
  // A new authority would make strangers of everybody whom the entities know, and waste of all that they have signed.
  const lost = ["pki.json", "root", "intermediate"].find((part) => !existsSync(join(directory.pki, part)));
  if (lost !== undefined && existsSync(directory.network))
    throw new DataDirectoryError(
      `${join(directory.pki, lost)} is missing, which made the certificates of this deployment; restore it from a copy, or name another directory with --data`,
    );
  try {
    if (basePort === 0 || isPki(directory.pki)) return createPki(directory.pki);
    const publicationUri = `http://${reachableAddress({ host, port: publicationPort(basePort) })}`;
    return createPki(directory.pki, { publicationUri });
  } catch (cause) {
    if (!(cause instanceof PkiError) || cause.code !== "corrupt_store") throw cause;
    throw new DataDirectoryError(`${cause.message}; restore it from a copy, or name another directory with --data`);
  }
}

function entityIdentity(
  pki: Pki,
  { kind, identity }: EntityPlan,
  host: string,
): IdentityMaterial & { files: IdentityFiles } {
  const dnsNames = ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"].includes(host) ? [] : [host];
  return pki.ensureIdentity({ role: kind, identity, dnsNames });
}

/**
 * What a user of the stack needs to come by pre-shared key, beside its profile. A consumer's has no key storage server: tokens are bound to a
 * certificate, and not redeemed on the port for keys.
 */
function writePskFiles(directory: DataDirectory, entities: readonly (EntityPlan & Started)[]): void {
  for (const name of userNames) {
    const servers = entities.flatMap(({ name: entity, kind, identity, pskEndpoint: endpoint }): PskServer[] => {
      if (endpoint === undefined || (kind === "kss" && name === "consumer")) return [];
      const keys = readPreSharedKeyFile(preSharedKeyPath(directory.entity(entity)));
      const own = keys.find((key) => key.identity === userIdentity(name));
      // Its operator may have taken the key away.
      return own === undefined ? [] : [{ server: identity, endpoint, key: own.key }];
    });
    writePskFile(join(directory.entity("profiles"), `${name}.psk.json`), servers);
  }
}

type Users = RunningStack["users"];
type Operator = IdentityMaterial & { files: IdentityFiles };

/** A provider and a consumer that a newcomer can act as at once: certificate, profile, and account made by the operator. */
async function makeUsers(
  pki: Pki,
  directory: DataDirectory,
  management: { readonly identity: string; readonly endpoint: string },
  operator: Operator,
): Promise<Users> {
  const made = userNames.map((name) => {
    const identity = userIdentity(name);
    const { files } = pki.ensureIdentity({ role: "user", identity });
    return [name, { identity, files, profile: writeProfile(directory, name, files, management) }] as const;
  });
  await makeAccounts(pki, management, operator);
  return Object.fromEntries(made) as Users;
}

/** Answers its path. */
function writeProfile(
  directory: DataDirectory,
  name: string,
  files: IdentityFiles,
  management: ProfileFile["management"],
): string {
  const profiles = directory.entity("profiles");
  const at = (path: string) => relative(profiles, path);
  const contents: ProfileFile = {
    management,
    certificate: at(files.chain),
    privateKey: at(files.privateKey),
    trustAnchors: at(files.ca),
    revocationLists: at(files.crl),
  };
  const path = join(profiles, `${name}.json`);
  writeDurably(path, profileText(contents), 0o644);
  return path;
}

async function makeAccounts(
  pki: Pki,
  management: { identity: string; endpoint: string },
  operator: Operator,
): Promise<void> {
  const transport = grpcTransport({
    address: management.endpoint,
    serverIdentity: management.identity,
    credentials: {
      privateKey: operator.privateKeyPem,
      certificateChain: operator.chainPem,
      authorities: [pki.caPem],
      revocationLists: pki.crlPems,
    },
  });
  const accounts = createClient(UserAccountService, transport);
  try {
    for (const name of userNames) {
      const identity = userIdentity(name);
      const rights = { publish: true, access: true };
      const attributes = { industries: ["isic:j61"], country: "CH", organization: `${name} of the reference stack` };
      await accounts
        .createAccount({ account: { identity, displayName: name, rights, attributes } })
        .catch((cause: unknown) => {
          // An operator may have changed the account since the first start.
          if (!(cause instanceof ConnectError) || reasonOf(cause) !== ErrorReason.ACCOUNT_EXISTS) throw cause;
        });
    }
  } finally {
    transport.close();
  }
}

function endpointOf(
  entities: readonly (EntityPlan & Started)[],
  kind: ServerKind,
): { identity: string; endpoint: string } {
  const found = entities.find((entity) => entity.kind === kind);
  if (found === undefined) throw new Error(`the plan has no ${kind}`);
  return { identity: found.identity, endpoint: found.endpoint };
}

function targetOf(
  directory: DataDirectory,
  entities: readonly (EntityPlan & Started)[],
  users: Users,
  operator: Operator,
  revocationRefreshMs: number,
): Tree {
  const at = (path: string) => relative(directory.path, path);
  const credential = ({ files }: { files: IdentityFiles }) => ({
    certificate: at(files.chain),
    privateKey: at(files.privateKey),
  });
  const entity = (kind: ServerKind) => {
    const exposure = entities.find((one) => one.kind === kind)?.secondEndpoint;
    return { ...endpointOf(entities, kind), ...(exposure !== undefined && { exposure }) };
  };
  return {
    name: "reference stack",
    entities: { dssm: entity("dssm"), kss: entity("kss"), dss: entity("dss") },
    trust: { anchors: at(operator.files.ca), revocationLists: at(operator.files.crl) },
    credentials: {
      provider: credential(users.provider),
      consumer: credential(users.consumer),
      operator: credential(operator),
    },
    ixit: { crlRefreshSeconds: Math.ceil(revocationRefreshMs / 1000) },
  };
}

interface Tree {
  readonly [member: string]: string | number | Tree;
}

/** What somebody has added to the file since, further credentials say, stays. */
function targetText(target: Tree, former = ""): string {
  const document = parseDocument(former);
  if (document.errors.length > 0 || !isMap(document.contents)) return stringify(target);
  const set = (tree: Tree, path: readonly string[]) => {
    for (const [member, value] of Object.entries(tree)) {
      const at = [...path, member];
      if (typeof value === "object" && isMap(document.getIn(at))) set(value, at);
      else document.setIn(at, value);
    }
  };
  set(target, []);
  return document.toString();
}
