// What every functional entity of a deployment has: identity, keys, registry, connections to the others, and current revocation lists.
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import { toPem } from "../../certs/der.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntityKind } from "../../gen/x1410/v1/identity_pb.ts";
import type { Log } from "../communications/log.ts";
import { Peers } from "../communications/peers.ts";
import { reasonOf, refusal, subjectOf } from "../communications/refusal.ts";
import { LIST_OUT_OF_DATE } from "../communications/revocation-status.ts";
import type { TlsCredentials } from "../communications/tls-credentials.ts";
import { NOT_TAKEN_OVER } from "../communications/watched-file.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import type { Network } from "./network.ts";

/** Keys and certificates of one entity, PEM (U1, U2). */
export interface EntityMaterial {
  readonly privateKeyPem: string;
  /** The certificate, then the intermediate authority. */
  readonly certificateChainPem: string;
  readonly trustAnchorsPem: string;
  /** One text for each authority's list. */
  readonly revocationListPems: readonly string[];
}

export interface EntityOptions {
  readonly identity: string;
  /** Its own folder of the data directory. */
  readonly directory: string;
  readonly material: EntityMaterial;
  readonly network: Network;
  readonly log: Log;
  readonly now: () => Date;
}

/** Somebody who judges certificates and must learn of new revocation lists. */
export interface RevocationAware {
  reload(credentials: TlsCredentials): void;
}

export class EntityContext {
  readonly options: EntityOptions;
  /** Signs with the key and certificate of now. */
  readonly signer: Signer;
  readonly trust: ChainVerifier;
  readonly peers: Peers;
  #credentials: TlsCredentials;
  readonly #servers: RevocationAware[] = [];
  #ownSigner: Signer;
  /** The authority says that this entity's certificate was revoked. It then answers nothing else, not even the list that says so. */
  #revoked = false;
  #refresh: NodeJS.Timeout | undefined;

  constructor(options: EntityOptions) {
    const { privateKeyPem, certificateChainPem, trustAnchorsPem, revocationListPems } = options.material;
    this.options = options;
    this.#ownSigner = createSigner({ privateKeyPem, certificateChainPem });
    this.signer = currentSigner(
      () => this.#ownSigner,
      () => {
        if (this.#revoked) throw refusal(ErrorReason.CERTIFICATE_REVOKED, this.identity);
      },
    );
    this.trust = new ChainVerifier({
      trustAnchors: trustAnchorsPem,
      intermediates: certificateChainPem,
      crls: revocationListPems.join("\n"),
      now: options.now,
      requiredEku: "clientAuth",
    });
    this.#credentials = {
      privateKey: privateKeyPem,
      certificateChain: certificateChainPem,
      authorities: [trustAnchorsPem],
      revocationLists: revocationListPems,
    };
    this.peers = new Peers(options.network, this.#credentials);
  }

  get identity(): string {
    return this.options.identity;
  }

  get credentials(): TlsCredentials {
    return this.#credentials;
  }

  /** A server of this entity that judges its callers by the current lists from now on. */
  attach(server: RevocationAware): void {
    this.#servers.push(server);
  }

  /** New lists hold for signed messages, for open and new connections, either way. */
  adopt(revocationLists: readonly Uint8Array[]): void {
    const lists = revocationLists.map((der) => toPem("X509 CRL", der));
    if (lists.join() === this.#credentials.revocationLists?.join()) return;
    this.trust.update({ crls: lists.join("\n") });
    this.#install({ ...this.#credentials, revocationLists: lists });
  }

  /**
   * A renewed certificate of the same identity: shown and signed with from now on, and nothing else changes.
   * @throws TypeError where key, certificate and identity do not belong together; the former ones go on then
   */
  renew({ privateKeyPem, certificateChainPem }: Pick<EntityMaterial, "privateKeyPem" | "certificateChainPem">): void {
    if (certificateChainPem === this.#credentials.certificateChain) return;
    const signer = createSigner({ privateKeyPem, certificateChainPem });
    if (signer.identity !== this.identity) throw new TypeError(`the certificate is of ${signer.identity}`);
    this.#install({ ...this.#credentials, privateKey: privateKeyPem, certificateChain: certificateChainPem });
    this.#ownSigner = signer;
    this.#revoked = false;
    this.options.log.info("certificate renewed", { entity: this.identity });
  }

  #install(credentials: TlsCredentials): void {
    for (const server of this.#servers) server.reload(credentials);
    this.#credentials = credentials;
    this.peers.reload(credentials);
  }

  /** Asks the certification authority for its lists every `intervalMs`; while it cannot be reached the present lists hold until they end. */
  refreshEvery(intervalMs: number): void {
    this.#refresh = setInterval(() => void this.refreshRevocationLists(), intervalMs);
    this.#refresh.unref();
  }

  /** Asks the certification authority for its lists; where it cannot be reached the present ones hold. */
  async refreshRevocationLists(): Promise<void> {
    const authority = this.options.network.parameters().entities.find(({ kind }) => kind === EntityKind.CA);
    if (authority === undefined) return;
    try {
      const { revocationLists } = await this.peers
        .client(CertificationAuthorityService, authority.identity)
        .getRevocationLists({}, { timeoutMs: 10_000 });
      // Whoever is answered is not revoked.
      this.#revoked = false;
      this.#adoptOrTell(revocationLists, authority.identity);
    } catch (cause) {
      // A list that is out of date, as after a jump of the authority's clock, says nothing against this entity.
      this.#revoked ||= reasonOf(cause) === ErrorReason.CERTIFICATE_REVOKED && subjectOf(cause) !== LIST_OUT_OF_DATE;
      this.options.log.warn("revocation lists not refreshed", {
        error: cause instanceof Error ? cause.message : "unknown",
      });
    }
  }

  #adoptOrTell(revocationLists: readonly Uint8Array[], authority: string): void {
    try {
      this.adopt(revocationLists);
    } catch (cause) {
      const file = `revocation lists of ${authority}`;
      this.options.log.error(NOT_TAKEN_OVER, { file, cause: cause instanceof Error ? cause.message : String(cause) });
    }
  }

  close(): void {
    clearInterval(this.#refresh);
    this.peers.close();
  }
}

/** What is built on a signer keeps it; this one follows renewals, and signs nothing once nobody would believe it. */
function currentSigner(current: () => Signer, assertMaySign: () => void): Signer {
  return {
    get identity() {
      return current().identity;
    },
    get algorithm() {
      return current().algorithm;
    },
    get publicKey() {
      return current().publicKey;
    },
    get certificate() {
      return current().certificate;
    },
    sign(payloadType, payload) {
      assertMaySign();
      return current().sign(payloadType, payload);
    },
  };
}
