// The reference entities as targets: any subset of them, each in its own directory, against the harness's peers. The kit knows them by
// their endpoints, like anybody's.
import { mkdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromPem } from "../certs/der.ts";
import { SignatureAlgorithm } from "../gen/x1410/v1/identity_pb.ts";
import { silentLog } from "../reference/communications/log.ts";
import { createPreSharedKeyFile, readPreSharedKeyFile } from "../reference/communications/pre-shared-key-file.ts";
import type { ServerOptions } from "../reference/communications/server.ts";
import type { Registration } from "../reference/communications/service.ts";
import { isAvailable } from "../reference/envelope/algorithm.ts";
import { preSharedKeyPath } from "../reference/stack/doors.ts";
import { NetworkDirectory } from "../reference/stack/network.ts";
import { planEntities, type ServerKind } from "../reference/stack/plan.ts";
import type { Launcher } from "../reference/stack/stack.ts";
import { startEntity } from "../reference/stack/start-entity.ts";
import { Harness } from "./harness/harness.ts";
import { kitVersion } from "./kit-version.ts";
import { allBut, type Pics } from "./pics.ts";
import { defaultIxit, type EntityRole, entityRoles, type TargetEntity, type TargetSettings } from "./target.ts";

export interface ReferenceOptions {
  /** Whether key storage asks token management about each token; default required, so that F4.13.2 can be seen. */
  readonly introspection?: "off" | "required";
  /** What is served instead of an entity's services as they are: for mutants. */
  readonly alter?: (registrations: readonly Registration[]) => readonly Registration[];
  /** And instead of the guards at its doors. */
  readonly alterGuards?: ServerOptions["alterGuards"];
  /** Starts an entity elsewhere than in this process, where nothing is altered. */
  readonly launch?: Launcher;
}

export interface ReferenceSubset {
  readonly settings: TargetSettings;
  /** What the reference claims. */
  readonly pics: readonly Pics[];
  readonly harness: Harness;
  /** Stops entities and harness and removes their directory. */
  close(): Promise<void>;
}

const CRL_REFRESH_SECONDS = 1;
/** What the reference can do and this set-up does not offer. */
const notOffered = ["TLS-1.2", ...(isAvailable(SignatureAlgorithm.ML_DSA_65) ? [] : ["SIGN-ML-DSA-65"])];

/** Every non-empty subset of the three entities: seven. */
export const subsets: readonly (readonly EntityRole[])[] = [1, 2, 3, 4, 5, 6, 7].map((bits) =>
  entityRoles.filter((_, index) => (bits >> index) & 1),
);

/** Starts the reference's entities of these roles, and a ledger node where a management needs one, around a harness of their own. */
export async function referenceSubset(
  roles: readonly EntityRole[],
  options: ReferenceOptions = {},
): Promise<ReferenceSubset> {
  const folder = await mkdtemp(join(tmpdir(), "x1410-kit-"));
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    const harness = await Harness.start({
      directory: join(folder, "harness"),
      host: "127.0.0.1",
      basePort: 0,
      credentials: {},
      trustAnchorsPem: "",
    });
    closers.push(() => harness.close());
    const entities = await startEntities(roles, harness, folder, options, closers);
    const without = new Set([...notOffered, ...(options.introspection === "off" ? ["F4.13.2", "A2.10.2"] : [])]);
    const pics = roles.map((role) => allBut(role, `x1410 reference ${kitVersion()}`, without));
    return { settings: settingsOf(roles, entities), pics, harness, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

async function startEntities(
  roles: readonly EntityRole[],
  harness: Harness,
  folder: string,
  { introspection = "required", alter, alterGuards, launch }: ReferenceOptions,
  closers: (() => Promise<unknown>)[],
): Promise<Partial<Record<EntityRole, TargetEntity>>> {
  const authority = harness.authority;
  if (authority === undefined) throw new Error("this harness has no authority of its own");
  const trustAnchors = fromPem("CERTIFICATE", authority.trustAnchorPem);
  const networkFile = join(folder, "network.json");
  const network = new NetworkDirectory({ networkId: "local", quorum: 1, trustAnchors }, launch && networkFile);
  network.revocationLists(authority.revocationListPems.flatMap((pem) => fromPem("X509 CRL", pem)));
  for (const entity of harness.entities) network.register(entity);
  const wanted = new Set<ServerKind>([...roles, ...(roles.includes("dssm") ? ["ledger" as const] : [])]);
  const started: Partial<Record<EntityRole, TargetEntity>> = {};
  for (const plan of planEntities({ basePort: 0, ledgerNodes: 1, preSharedKeys: true }).filter(({ kind }) =>
    wanted.has(kind),
  )) {
    const { kind, identity } = plan;
    const { files, chainPem } = authority.kept(kind, identity.split(":").at(-1) ?? "", []);
    const directory = join(folder, plan.name);
    // Keys are agreed by hand: this is the file that an operator would fill.
    if (plan.pskPort !== undefined) {
      mkdirSync(directory, { mode: 0o700 });
      createPreSharedKeyFile(preSharedKeyPath(directory), [
        authority.identityOf("provider"),
        authority.identityOf("consumer"),
      ]);
    }
    const options = {
      host: "127.0.0.1",
      log: silentLog,
      revocationRefreshMs: CRL_REFRESH_SECONDS * 1000,
      introspection,
    };
    const places = {
      plan,
      directory,
      files,
      network,
      pkiDirectory: join(folder, "harness", "pki"),
      accessFile: join(folder, "access.yaml"),
    };
    const entity =
      launch === undefined
        ? await startEntity({ ...places, ...options, ...(alter && { alter }), ...(alterGuards && { alterGuards }) })
        : await launch({
            ...places,
            networkFile,
            options: { ...options, dataDirectory: folder, basePort: 0, ledgerNodes: 1 },
          });
    closers.push(() => entity.close());
    const { endpoint, secondEndpoint, pskEndpoint } = entity;
    network.register({ identity, endpoint, certificateChainPem: chainPem, proposer: plan.proposer });
    harness.learn({ identity, endpoint, certificateChainPem: chainPem });
    if (kind !== "ledger" && kind !== "ca")
      started[kind] = {
        identity,
        endpoint,
        ...(secondEndpoint !== undefined && { exposure: secondEndpoint }),
        ...(pskEndpoint !== undefined && {
          psk: { endpoint: pskEndpoint, keys: readPreSharedKeyFile(preSharedKeyPath(directory)) },
        }),
      };
  }
  return started;
}

function settingsOf(roles: readonly EntityRole[], entities: Partial<Record<EntityRole, TargetEntity>>): TargetSettings {
  return {
    name: roles.length === entityRoles.length ? "reference stack" : `reference ${roles.join(" and ")}`,
    entities,
    trustAnchorsPem: "",
    revocationListsPem: "",
    credentials: {},
    harness: undefined,
    ixit: { ...defaultIxit, crlRefreshSeconds: CRL_REFRESH_SECONDS },
  };
}
