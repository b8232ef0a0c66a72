// A user of the implementation (clause 6.2.1), played by the kit: its certificate, its channels to the entities, its session at the
// management.
import { createHash, randomBytes, X509Certificate } from "node:crypto";
import { create, type DescService } from "@bufbuild/protobuf";
import type { CallOptions, Client } from "@connectrpc/connect";
import type { Rights } from "../../gen/x1410/v1/identity_pb.ts";
import {
  ManagementAuthenticationStatementSchema,
  UserAuthenticationService,
  UserAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { createSigner, type Signer } from "../../reference/envelope/signer.ts";
import { type Trust, verifyEnvelope } from "../../reference/envelope/verify.ts";
import { anyRequest } from "../any-request.ts";
import type { Connections } from "../channels.ts";
import { expectEstablished, expectRefused } from "../handshake-verdict.ts";
import { expect } from "../procedures/procedure.ts";
import type { Credential, EntityRole, Target } from "../target.ts";
import { byCertificate, factsText } from "../tls-probe.ts";

export type Seen = (text: string) => void;

export class User {
  readonly target: Target;
  readonly signer: Signer;
  /** Judges what the implementation and other users sign. */
  readonly trust: Trust;
  readonly #credential: Credential;
  readonly #channels: Connections;
  #session = "";

  constructor(target: Target, credential: Credential, channels: Connections, trust: Trust) {
    this.target = target;
    this.trust = trust;
    this.#credential = credential;
    this.#channels = channels;
    this.signer = createSigner(credential);
  }

  get identity(): string {
    return this.signer.identity;
  }

  /** Identity of the management, to which signed requests are addressed. */
  get management(): string {
    return this.target.entities.dssm.identity;
  }

  /** The secret of its session, "" before it has one. Users of one certificate may share a session. */
  get session(): string {
    return this.#session;
  }

  set session(session: string) {
    this.#session = session;
  }

  /** Metadata of a call that needs the session. */
  get inSession(): CallOptions {
    return { headers: { "x1410-session": this.#session } };
  }

  client<S extends DescService>(service: S, role: EntityRole): Client<S> {
    return this.#channels.client(service, role);
  }

  /**
   * Mutual authentication for communications (AAC1, AAC2, AAC4): the entity proves its identity, refuses a client that shows no
   * certificate, and two connections have two session keys.
   */
  async connect(role: EntityRole, seen: Seen): Promise<void> {
    const { endpoint, identity } = this.target.entities[role];
    const { trustAnchorsPem, callTimeoutMs: timeoutMs } = this.target;
    const own = byCertificate({ endpoint, timeoutMs, trustAnchorsPem, credential: this.#credential });
    const first = await expectEstablished(own, "a TLS connection under the user's certificate");
    expect(first.trusted, "a server certificate that chains to the trust anchors", factsText(first));
    expect(first.identity === identity, `a server certificate whose one URI is ${identity} (got ${first.identity})`);
    const second = await expectEstablished(own, "a second connection");
    expect(first.exported !== second.exported, "a session key of its own for each connection");
    const nameless = byCertificate({ endpoint, timeoutMs, trustAnchorsPem });
    await expectRefused(nameless, own, anyRequest(role), "a refusal of a client without certificate");
    seen(`${first.protocol}, ${identity}, a session key of its own; without certificate refused`);
  }

  /** User-level mutual authentication in three passes (F3.4.2, F4.2.2), and what the user may do. */
  async authenticate(seen: Seen): Promise<Rights> {
    const { proven, challenge, answer } = await this.#passes();
    expect(challenge.managementNonce.length === 32, "a challenge of 32 bytes");
    expect(challenge.managementIdentity === this.management, `a challenge of ${this.management}`);
    expect(answer.statement !== undefined, "the management's own statement, signed");
    const { message, signer } = verifyEnvelope(answer.statement, ManagementAuthenticationStatementSchema, this.trust);
    expect(signer.identity === this.management, "a statement signed by the management");
    expect(
      same(message.userNonce, proven.userNonce) &&
        same(message.managementNonce, proven.managementNonce) &&
        same(message.userCertificateSha256, proven.userCertificateSha256) &&
        message.userIdentity === this.identity &&
        message.managementIdentity === this.management,
      "a statement over both nonces, both identities and this certificate",
    );
    expect(answer.session.length > 0 && answer.rights !== undefined, "a session and the user's rights");
    seen(`${this.identity} and ${this.management}, both proven; ${rightsText(answer.rights)}`);
    return answer.rights;
  }

  /** A session to start from, with no judgement of how the management gave it. */
  async logIn(): Promise<void> {
    await this.#passes();
  }

  async #passes() {
    const client = this.client(UserAuthenticationService, "dssm");
    const challenge = await client.beginAuthentication({});
    const proven = create(UserAuthenticationStatementSchema, {
      userNonce: randomBytes(32),
      managementNonce: challenge.managementNonce,
      userIdentity: this.identity,
      managementIdentity: this.management,
      userCertificateSha256: this.certificateSha256,
    });
    const answer = await client.completeAuthentication({
      challengeId: challenge.challengeId,
      statement: signMessage(this.signer, UserAuthenticationStatementSchema, proven),
    });
    this.#session = answer.session;
    return { challenge, proven, answer };
  }

  get certificateSha256(): Uint8Array {
    return createHash("sha256").update(new X509Certificate(this.#credential.certificateChainPem).raw).digest();
  }

  close(): void {
    this.#channels.close();
  }
}

export function same(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

function rightsText(rights: Rights): string {
  const names = [rights.publish && "publish", rights.access && "access"].filter(Boolean);
  return names.length === 0 ? "no rights" : `may ${names.join(" and ")}`;
}
