// The folder that an implementation is set up from: certificates, trust, the registry of the network, and a target file ready to use.
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { stringify } from "yaml";
import { formatIdentity } from "../../certs/identity.ts";
import { proformaText } from "../pics.ts";
import { profile, recommendation } from "../suite.ts";
import { defaultIxit, type EntityRole, entityRoles, type PartyName } from "../target.ts";
import { authorityPortOffset, Harness, harnessPeers, registryJson } from "./harness.ts";
import { HarnessAuthority } from "./harness-authority.ts";

export interface HarnessFolderOptions {
  readonly directory: string;
  /** What is under test. */
  readonly roles: readonly EntityRole[];
  /** Last part of the implementation's identities. */
  readonly name: string;
  readonly host: string;
  readonly basePort: number;
  /** Where the implementation listens. */
  readonly endpoints: ReadonlyMap<EntityRole, string>;
}

export interface HarnessFolder {
  readonly targetFile: string;
  /** What to set up, in words. */
  readonly settings: string;
}

const defaultEndpoints: Readonly<Record<EntityRole, string>> = {
  dssm: "127.0.0.1:7410",
  kss: "127.0.0.1:7411",
  dss: "127.0.0.1:7412",
};
/** How often an implementation is asked to look for new revocation lists, unless its operator says otherwise in the target file. */
const CRL_REFRESH_SECONDS = 5;

export async function writeHarnessFolder(options: HarnessFolderOptions): Promise<HarnessFolder> {
  const directory = resolve(options.directory);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const authority = new HarnessAuthority(directory);
  const at = (path: string) => join(directory, path);
  await writeFile(at("trust-anchor.pem"), authority.trustAnchorPem);
  await writeFile(at("issuing-authority.pem"), authority.intermediatePem);
  await writeFile(at("revocation-lists.pem"), authority.revocationListPems.join(""));
  const own = options.roles.map((role) => {
    const endpoint = options.endpoints.get(role) ?? defaultEndpoints[role];
    const { files, chainPem } = authority.kept(role, options.name, hostsOf(endpoint));
    return { role, identity: formatIdentity(role, options.name), endpoint, files, certificateChainPem: chainPem };
  });
  for (const { role } of own)
    await writeFile(at(`pics-${role}.yaml`), proformaText(role, recommendation, profile), { flag: "wx" }).catch(keep);
  await writeFile(at("registry.json"), registry(options, own));
  const targetFile = at("target.yaml");
  await writeFile(targetFile, targetText(options, own));
  return { targetFile, settings: settingsText(directory, options, own) };
}

interface Own {
  readonly role: EntityRole;
  readonly identity: string;
  readonly endpoint: string;
  readonly files: { readonly privateKey: string; readonly chain: string };
  readonly certificateChainPem: string;
}

/** A statement that somebody has begun to fill in stays as it is. */
function keep(cause: NodeJS.ErrnoException): void {
  if (cause.code !== "EEXIST") throw cause;
}

function hostsOf(endpoint: string): string[] {
  const host = endpoint.slice(0, endpoint.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  return ["127.0.0.1", "::1", "localhost"].includes(host) ? [] : [host];
}

/** Entities with their endpoints and certificates, in the JSON form of NetworkParameters (U4). */
function registry({ directory, host, basePort }: HarnessFolderOptions, own: readonly Own[]): string {
  const harness = new Harness({ directory, host, basePort, credentials: {}, trustAnchorsPem: "" });
  harness.announce(host, basePort);
  for (const entity of own) harness.learn(entity);
  return registryJson(harness.parameters());
}

function targetText({ name, host, basePort }: HarnessFolderOptions, own: readonly Own[]): string {
  const entities = Object.fromEntries(own.map(({ role, endpoint, identity }) => [role, { endpoint, identity }]));
  return [
    "# Written by x1410 conformance harness. Certificates come from the kit's own authority in this folder.",
    stringify({
      name: `${name}: ${own.map(({ role }) => role).join(" and ")}`,
      entities,
      harness: { directory: ".", host, basePort },
    }).trimEnd(),
    "# IXIT: what the kit cannot know of the implementation.",
    stringify({ ixit: { ...defaultIxit, crlRefreshSeconds: CRL_REFRESH_SECONDS } }),
  ].join("\n");
}

function settingsText(directory: string, { host, basePort }: HarnessFolderOptions, own: readonly Own[]): string {
  const at = (path: string) => relative(process.cwd(), path) || ".";
  const port = (offset: number) => `${host}:${basePort + offset}`;
  const party: Readonly<Record<(typeof harnessPeers)[number], string>> = {
    dssm: formatIdentity("dssm", "kit"),
    kss: formatIdentity("kss", "kit"),
    dss: formatIdentity("dss", "kit"),
    secondDssm: formatIdentity("dssm", "kit-second"),
  };
  const authority = new HarnessAuthority(directory);
  const users: readonly PartyName[] = ["provider", "consumer", "secondProvider", "secondConsumer", "operator"];
  return [
    ...own.flatMap(({ role, identity, endpoint, files }) => [
      `${role} under test: ${identity}, listening at ${endpoint}`,
      `  certificate and chain   ${at(files.chain)}`,
      `  private key (PKCS #8)   ${at(files.privateKey)}`,
    ]),
    "",
    "It trusts, for servers, clients and signatures:",
    `  trust anchor            ${at(join(directory, "trust-anchor.pem"))}`,
    `  issuing authority       ${at(join(directory, "issuing-authority.pem"))}`,
    `  revocation lists        ${at(join(directory, "revocation-lists.pem"))}`,
    `  new lists, every ${CRL_REFRESH_SECONDS} s     CertificationAuthorityService.GetRevocationLists at ${port(authorityPortOffset)} (${formatIdentity("ca", "kit")})`,
    "",
    "Its registry of the network (U4) names these peers, which the kit plays:",
    ...harnessPeers.map((peer, offset) => `  ${party[peer].padEnd(36)} ${port(offset)}`),
    `  all of it as JSON       ${at(join(directory, "registry.json"))}`,
    "",
    "Callers that the kit sends; the operator makes the users' accounts by itself:",
    ...users.map((user) => `  ${user.padEnd(22)}  ${authority.identityOf(user)}`),
    "",
    "Then:",
    ...own.map(({ role }) => `  answer ${at(join(directory, `pics-${role}.yaml`))}`),
    `  npx x1410 conformance run --target ${at(join(directory, "target.yaml"))} --pics ${own.map(({ role }) => at(join(directory, `pics-${role}.yaml`))).join(" ")}`,
    ...(own.length === entityRoles.length
      ? []
      : ["", "The kit starts its peers by itself for each run, on these ports; --serve keeps them running meanwhile."]),
  ].join("\n");
}
