// The harness: the servers that the kit puts around an implementation. They stand in for peers that are not under test, and beside a
// whole implementation they are further peers that it trusts, which may issue wrong tokens and give wrong answers.
import { create, toJsonString } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { fromPem } from "../../certs/der.ts";
import { formatIdentity } from "../../certs/identity.ts";
import {
  CertificationAuthorityService,
  GetCertificationPathResponseSchema,
  GetRevocationListsResponseSchema,
} from "../../gen/x1410/v1/certification_authority_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntityKind, EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { type NetworkParameters, NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { type ClosableTransport, grpcTransport } from "../../reference/communications/grpc-transport.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { type RunningServer, startServer } from "../../reference/communications/server.ts";
import { implement, type Registration } from "../../reference/communications/service.ts";
import type { TlsCredentials } from "../../reference/communications/tls-credentials.ts";
import { identityOfCredential } from "../credential.ts";
import type { Credential, PartyName, TargetEntity } from "../target.ts";
import { HarnessAuthority } from "./harness-authority.ts";
import { TesterDataStorage } from "./tester-data-storage.ts";
import { TesterKeyStorage } from "./tester-key-storage.ts";
import { TesterManagement } from "./tester-management.ts";

export interface HarnessOptions {
  /** Where the kit's own authority lives; undefined where an operator issued the certificates of the peers. */
  readonly directory: string | undefined;
  readonly host: string;
  /** First of the ports; 0 for free ones. */
  readonly basePort: number;
  /** Issued by an operator; what is missing comes from the kit's own authority. */
  readonly credentials: Readonly<Partial<Record<PartyName, Credential>>>;
  /** What the implementation's certificates chain to besides the kit's own authority, PEM; "" where nothing. */
  readonly trustAnchorsPem: string;
}

/** Servers of the harness, in the order of their ports. */
export const harnessPeers = ["dssm", "kss", "dss", "secondDssm"] as const;
export type HarnessPeer = (typeof harnessPeers)[number];

/** Where the certification authority of the harness hands out revocation lists: the port after those of the peers. */
export const authorityPortOffset = harnessPeers.length;

export const harnessNetworkId = "kit";

export interface HarnessEntity extends TargetEntity {
  readonly certificateChainPem: string;
}

export class Harness {
  readonly authority: HarnessAuthority | undefined;
  readonly management: TesterManagement;
  /** Trusted as much, but named by no owner for any key. */
  readonly secondManagement: TesterManagement;
  readonly keyServer: TesterKeyStorage;
  readonly dataServer: TesterDataStorage;
  readonly trustAnchorsPem: string;
  readonly #credentials: ReadonlyMap<PartyName | "ca", Credential>;
  readonly #servers: RunningServer[] = [];
  readonly #entities = new Map<string, HarnessEntity>();
  readonly #transports: ClosableTransport[] = [];

  /** Not started yet: the certificates are at hand, nobody listens. */
  constructor(options: HarnessOptions) {
    const { directory, credentials, trustAnchorsPem, host } = options;
    const hosts = ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"].includes(host) ? [] : [host];
    this.authority = directory === undefined ? undefined : new HarnessAuthority(directory);
    this.trustAnchorsPem = `${this.authority?.trustAnchorPem ?? ""}${trustAnchorsPem}`;
    const all = new Map<PartyName | "ca", Credential>();
    for (const peer of harnessPeers) {
      const credential = credentials[peer] ?? this.authority?.party(peer, hosts);
      if (credential !== undefined) all.set(peer, credential);
    }
    if (this.authority !== undefined) {
      const { privateKeyPem, chainPem } = this.authority.kept("ca", "kit", hosts);
      all.set("ca", { privateKeyPem, certificateChainPem: chainPem });
    }
    this.#credentials = all;
    const identity = (peer: HarnessPeer, otherwise: string) => {
      const credential = all.get(peer);
      return credential === undefined ? otherwise : identityOfCredential(credential);
    };
    this.management = new TesterManagement(identity("dssm", formatIdentity("dssm", "kit")), harnessNetworkId);
    this.secondManagement = new TesterManagement(
      identity("secondDssm", formatIdentity("dssm", "kit-second")),
      harnessNetworkId,
    );
    this.keyServer = new TesterKeyStorage(identity("kss", formatIdentity("kss", "kit")), (issuer) =>
      this.#tokenKeysOf(issuer),
    );
    this.dataServer = new TesterDataStorage(identity("dss", formatIdentity("dss", "kit")));
  }

  /** Starts every peer that has a certificate. @throws ListenError where a port is taken */
  static async start(options: HarnessOptions): Promise<Harness> {
    const harness = new Harness(options);
    try {
      await harness.#open(options);
      return harness;
    } catch (cause) {
      await harness.close();
      throw cause;
    }
  }

  /** Names the endpoints that the peers will have, without starting them. */
  announce(host: string, basePort: number): void {
    for (const [offset, peer] of [...harnessPeers, "ca" as const].entries()) {
      const credential = this.#credentials.get(peer);
      if (credential !== undefined) this.#announce(credential, `${host}:${basePort + offset}`);
    }
  }

  /** A peer's identity and endpoint; undefined where nobody gave a certificate for it. */
  peer(peer: HarnessPeer): HarnessEntity | undefined {
    const credential = this.#credentials.get(peer);
    return credential && this.#entities.get(identityOfCredential(credential));
  }

  /** Everyone whom the implementation has to know: what goes into its registry. */
  get entities(): readonly HarnessEntity[] {
    return [...this.#entities.values()];
  }

  /** The credential of a peer or a user of the kit's own authority. */
  credential(party: PartyName): Credential | undefined {
    return this.#credentials.get(party) ?? this.authority?.party(party);
  }

  /** Tells the peers where an entity under test is; the tester's key storage server fetches a management's token keys there. */
  learn(entity: HarnessEntity): void {
    this.#entities.set(entity.identity, entity);
  }

  /** The registry as the implementation should have it (U4). */
  parameters(): NetworkParameters {
    const entities = this.entities.map(({ identity, endpoint, certificateChainPem }) =>
      create(EntitySchema, {
        identity,
        endpoint,
        kind: kindOf(identity),
        certificate: { certificates: fromPem("CERTIFICATE", certificateChainPem) },
      }),
    );
    return create(NetworkParametersSchema, {
      networkId: harnessNetworkId,
      quorum: 1,
      entities,
      trustAnchors: fromPem("CERTIFICATE", this.trustAnchorsPem),
      revocationLists: (this.authority?.revocationListPems ?? []).flatMap((pem) => fromPem("X509 CRL", pem)),
    });
  }

  async close(): Promise<void> {
    for (const transport of this.#transports.splice(0)) transport.close();
    await Promise.all(this.#servers.splice(0).map((server) => server.close(500)));
  }

  async #open({ host, basePort }: HarnessOptions): Promise<void> {
    const parameters = () => this.parameters();
    const services: Readonly<Record<HarnessPeer, readonly Registration[]>> = {
      dssm: this.management.registrations(parameters),
      kss: [this.keyServer.registration],
      dss: this.dataServer.registrations,
      secondDssm: this.secondManagement.registrations(parameters),
    };
    for (const [offset, peer] of [...harnessPeers, "ca" as const].entries()) {
      const credential = this.#credentials.get(peer);
      if (credential === undefined) continue;
      const server = await startServer({
        name: `tester-${peer}`,
        credentials: this.#tls(credential),
        host,
        port: basePort === 0 ? 0 : basePort + offset,
        registrations: peer === "ca" ? [this.#certificationAuthority()] : services[peer],
      });
      this.#servers.push(server);
      this.#announce(credential, host === "0.0.0.0" || host === "::" ? server.address : `${host}:${server.port}`);
    }
  }

  #announce(credential: Credential, endpoint: string): void {
    const { certificateChainPem } = credential;
    this.learn({ identity: identityOfCredential(credential), endpoint, certificateChainPem });
  }

  /** The lists as they are at the time of the call, so that a revocation reaches the implementation at its next refresh. */
  #certificationAuthority(): Registration<typeof CertificationAuthorityService> {
    const lists = () => (this.authority?.revocationListPems ?? []).flatMap((pem) => fromPem("X509 CRL", pem));
    const der = (pem: string) => fromPem("CERTIFICATE", pem);
    return implement(CertificationAuthorityService, {
      getRevocationLists: () => create(GetRevocationListsResponseSchema, { revocationLists: lists() }),
      getCertificationPath: () =>
        create(GetCertificationPathResponseSchema, {
          intermediates: der(this.authority?.intermediatePem ?? ""),
          trustAnchor: der(this.trustAnchorsPem)[0] ?? new Uint8Array(),
        }),
    });
  }

  #tls({ privateKeyPem, certificateChainPem }: Credential): TlsCredentials {
    return {
      privateKey: privateKeyPem,
      certificateChain: certificateChainPem,
      authorities: [this.trustAnchorsPem, this.authority?.intermediatePem ?? ""].filter((pem) => pem !== ""),
    };
  }

  async #tokenKeysOf(issuer: string): Promise<string> {
    const management = this.#entities.get(issuer);
    const own = this.#credentials.get("kss");
    if (management === undefined || own === undefined) throw refusal(ErrorReason.TOKEN_INVALID, "issuer");
    const transport = grpcTransport({
      address: management.endpoint,
      serverIdentity: management.identity,
      credentials: this.#tls(own),
    });
    this.#transports.push(transport);
    const { jwks } = await createClient(TokenService, transport).listTokenKeys({}, { timeoutMs: 5_000 });
    transport.close();
    return jwks;
  }
}

/** The registry in the JSON form of the protocol, as a file that implementations can read. */
export function registryJson(parameters: NetworkParameters): string {
  return `${toJsonString(NetworkParametersSchema, parameters, { prettySpaces: 2 })}\n`;
}

function kindOf(identity: string): EntityKind {
  const kinds: Readonly<Record<string, EntityKind>> = {
    dssm: EntityKind.DSSM,
    kss: EntityKind.KSS,
    dss: EntityKind.DSS,
    ca: EntityKind.CA,
  };
  return kinds[identity.split(":")[3] ?? ""] ?? EntityKind.UNSPECIFIED;
}
