// A user, provider or consumer alike (clause 6.2.1, U1 to U6): connected to its management, authenticated, with the network parameters.
import { createHash, randomBytes, X509Certificate } from "node:crypto";
import { create, type DescService } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Entity, EntitySchema, type Rights } from "../../gen/x1410/v1/identity_pb.ts";
import type { NetworkParameters } from "../../gen/x1410/v1/ledger_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import {
  ManagementAuthenticationStatementSchema,
  UserAuthenticationService,
  UserAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { Peers } from "../communications/peers.ts";
import { pskTransport } from "../communications/psk-transport.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import { verifyEnvelope } from "../envelope/verify.ts";
import type { LedgerTrust } from "../ledger/trust-at-time.ts";
import type { ConnectedUser } from "./connected-user.ts";
import { type Profile, tlsCredentials } from "./profile.ts";
import type { PskServer } from "./psk-file.ts";

export class User implements ConnectedUser {
  readonly signer: Signer;
  /** Judges what others sign, and what they signed in the past. */
  readonly trust: LedgerTrust;
  readonly managementIdentity: string;
  /** What the management lets this user do. */
  readonly rights: Rights;
  /** The network as the management told it (U4). */
  readonly network: NetworkParameters;
  readonly #link: Link;
  #session: string;

  private constructor(link: Link, session: Session, network: NetworkParameters) {
    this.#link = link;
    this.signer = link.signer;
    this.trust = link.trust;
    this.managementIdentity = link.managementIdentity;
    this.rights = session.rights;
    this.network = network;
    this.#session = session.secret;
  }

  /**
   * Connects over mutual TLS, or by pre-shared key to the servers that are named so, authenticates in three passes (F3.4.2, F4.2.2) and reads
   * the network parameters.
   * @throws ConnectError of the management, or RESPONSE_INVALID where the management's own proof does not hold
   */
  static async connect(profile: Profile, byKey: readonly PskServer[] = []): Promise<User> {
    const link = openLink(profile, byKey);
    try {
      const session = await authenticate(link);
      const { parameters } = await link
        .client(SystemManagementService, link.managementIdentity)
        .getNetworkParameters({});
      if (parameters === undefined) throw refusal(ErrorReason.RESPONSE_INVALID, "network parameters");
      link.entities([...parameters.entities, ...parameters.ledgerNodes.flatMap(({ entity }) => entity ?? [])]);
      return new User(link, session, parameters);
    } catch (cause) {
      link.close();
      throw cause;
    }
  }

  get identity(): string {
    return this.signer.identity;
  }

  /** A client of a registered entity. @throws ConnectError ENTITY_NOT_REGISTERED */
  client<S extends DescService>(service: S, identity: string): Client<S> {
    return this.#link.client(service, identity);
  }

  management<S extends DescService>(service: S): Client<S> {
    return this.#link.client(service, this.managementIdentity);
  }

  /** Runs a call of the management in the user's session, which is renewed once where it has ended meanwhile. */
  async inSession<T>(call: (options: CallOptions) => Promise<T>): Promise<T> {
    const options = () => ({ headers: { "x1410-session": this.#session } });
    try {
      return await call(options());
    } catch (cause) {
      if (reasonOf(cause) !== ErrorReason.SESSION_INVALID) throw cause;
      this.#session = (await authenticate(this.#link)).secret;
      return call(options());
    }
  }

  /** Metadata for a stream of the management; a stream that ends with SESSION_INVALID is opened again after `renewSession`. */
  get sessionHeaders(): CallOptions {
    return { headers: { "x1410-session": this.#session } };
  }

  async renewSession(): Promise<void> {
    this.#session = (await authenticate(this.#link)).secret;
  }

  close(): void {
    this.#link.close();
  }
}

interface Session {
  readonly secret: string;
  readonly rights: Rights;
}

interface Link {
  readonly signer: Signer;
  readonly trust: LedgerTrust;
  readonly managementIdentity: string;
  readonly certificateSha256: Uint8Array;
  client<S extends DescService>(service: S, identity: string): Client<S>;
  entities(known: readonly Entity[]): void;
  close(): void;
}

function openLink(profile: Profile, byKey: readonly PskServer[]): Link {
  const { managementIdentity, managementEndpoint: endpoint, certificateChainPem } = profile;
  const directory = new Map([[managementIdentity, create(EntitySchema, { identity: managementIdentity, endpoint })]]);
  const signer = createSigner(profile);
  const trust = new ChainVerifier({
    trustAnchors: profile.trustAnchorsPem,
    intermediates: certificateChainPem,
    crls: profile.revocationListsPem,
    requiredEku: "clientAuth",
  });
  const peers = new Peers({ entity: (identity) => directory.get(identity) }, tlsCredentials(profile), (identity) => {
    const server = byKey.find((one) => one.server === identity);
    if (server === undefined) return undefined;
    const preSharedKey = { identity: signer.identity, key: server.key };
    return pskTransport({ address: server.endpoint, serverIdentity: identity, preSharedKey, trust });
  });
  return {
    signer,
    trust,
    managementIdentity,
    certificateSha256: createHash("sha256").update(new X509Certificate(certificateChainPem).raw).digest(),
    client: (service, identity) => peers.client(service, identity),
    entities: (known) => {
      for (const entity of known) if (entity.identity !== managementIdentity) directory.set(entity.identity, entity);
    },
    close: () => peers.close(),
  };
}

/** ISO/IEC 9798-3, three passes: the management's proof is checked before its session is used. */
async function authenticate(link: Link): Promise<Session> {
  const client = link.client(UserAuthenticationService, link.managementIdentity);
  const challenge = await client.beginAuthentication({});
  const proven = create(UserAuthenticationStatementSchema, {
    userNonce: randomBytes(32),
    managementNonce: challenge.managementNonce,
    userIdentity: link.signer.identity,
    managementIdentity: link.managementIdentity,
    userCertificateSha256: link.certificateSha256,
  });
  const { statement, session, rights } = await client.completeAuthentication({
    challengeId: challenge.challengeId,
    statement: signMessage(link.signer, UserAuthenticationStatementSchema, proven),
  });
  if (statement === undefined || rights === undefined) throw refusal(ErrorReason.RESPONSE_INVALID, "statement");
  const { message, signer } = verifyEnvelope(statement, ManagementAuthenticationStatementSchema, link.trust);
  const holds =
    signer.identity === link.managementIdentity &&
    message.managementIdentity === link.managementIdentity &&
    message.userIdentity === link.signer.identity &&
    equal(message.userNonce, proven.userNonce) &&
    equal(message.managementNonce, proven.managementNonce) &&
    equal(message.userCertificateSha256, link.certificateSha256);
  if (!holds) throw refusal(ErrorReason.RESPONSE_INVALID, "statement of the management");
  return { secret: session, rights };
}

function equal(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
