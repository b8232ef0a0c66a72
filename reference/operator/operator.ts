// The operator of a network (U1, UAM1, clauses 6.2.1 and 6.2.2): has users certified, keeps their accounts, revokes certificates. Over mutual
// TLS under the operator's own certificate; an operator needs no session.
import { create, type DescService, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { buildCertificationRequest } from "../../certs/certification-request.ts";
import { toPem } from "../../certs/der.ts";
import { formatIdentity, parseIdentity } from "../../certs/identity.ts";
import { generateKeyPair, type KeyAlgorithm, privateKeyPem } from "../../certs/key-pair.ts";
import { RevocationList } from "../../certs/revocation-list.ts";
import { CertificationAuthorityService, type RevocationReason } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  type Account,
  type AccountSchema,
  type Entity,
  EntityKind,
  EntitySchema,
} from "../../gen/x1410/v1/identity_pb.ts";
import type { NetworkParameters } from "../../gen/x1410/v1/ledger_pb.ts";
import { LedgerService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { Peers } from "../communications/peers.ts";
import { refusal } from "../communications/refusal.ts";
import { createSigner } from "../envelope/signer.ts";
import { type Profile, tlsCredentials } from "../user/profile.ts";
import { ProposerChange } from "./proposer-change.ts";

/** What a user needs to be one. */
export interface Enrolment {
  readonly identity: string;
  /** PKCS#8, a secret. */
  readonly privateKeyPem: string;
  /** The certificate with its intermediates. */
  readonly certificateChainPem: string;
}

export type AccountContents = Pick<MessageInitShape<typeof AccountSchema>, "displayName" | "rights" | "attributes">;

/** urn:x1410:user:NAME of a name; an identity stays as it is. @throws PkiError invalid_identity */
export function userIdentity(name: string): string {
  return parseIdentity(name)?.role === "user" ? name : formatIdentity("user", name);
}

export class Operator {
  readonly #peers: Peers;
  readonly #profile: Profile;
  readonly #authorityIdentity: string;
  readonly #parameters: NetworkParameters;

  private constructor(peers: Peers, profile: Profile, authorityIdentity: string, parameters: NetworkParameters) {
    this.#peers = peers;
    this.#profile = profile;
    this.#authorityIdentity = authorityIdentity;
    this.#parameters = parameters;
  }

  /** @throws ConnectError of the management; ENTITY_NOT_REGISTERED where the network has no certification authority */
  static async connect(profile: Profile): Promise<Operator> {
    const { managementIdentity, managementEndpoint: endpoint } = profile;
    const known = new Map<string, Entity>([
      [managementIdentity, create(EntitySchema, { identity: managementIdentity, endpoint })],
    ]);
    const peers = new Peers({ entity: (identity) => known.get(identity) }, tlsCredentials(profile));
    try {
      const { parameters } = await peers.client(SystemManagementService, managementIdentity).getNetworkParameters({});
      const authority = parameters?.entities.find(({ kind }) => kind === EntityKind.CA);
      if (parameters === undefined || authority === undefined) {
        throw refusal(ErrorReason.ENTITY_NOT_REGISTERED, "certification authority");
      }
      known.set(authority.identity, authority);
      for (const { entity } of parameters.ledgerNodes) if (entity !== undefined) known.set(entity.identity, entity);
      return new Operator(peers, profile, authority.identity, parameters);
    } catch (cause) {
      peers.close();
      throw cause;
    }
  }

  /** U1: a new key pair, and a certificate for it from the network's authority. */
  async enrol(identity: string, keyAlgorithm?: KeyAlgorithm): Promise<Enrolment> {
    const { privateKey } = generateKeyPair(keyAlgorithm);
    const csr = new Uint8Array(buildCertificationRequest({ subject: { commonName: identity }, privateKey }));
    const { secret } = await this.#authority.createEnrolment({ identity });
    const { certificate } = await this.#authority.issueCertificate({ csr, secret });
    if (certificate === undefined) throw refusal(ErrorReason.RESPONSE_INVALID, "certificate");
    return {
      identity,
      privateKeyPem: privateKeyPem(privateKey),
      certificateChainPem: certificate.certificates.map((der) => toPem("CERTIFICATE", der)).join(""),
    };
  }

  /** @param certificateSha256 of the certificate. @throws ConnectError CERTIFICATE_NOT_FOUND */
  async revoke(certificateSha256: Uint8Array, reason: RevocationReason): Promise<void> {
    await this.#authority.revokeCertificate({ certificateSha256: new Uint8Array(certificateSha256), reason });
  }

  /**
   * Every certificate of the identity that has not expired, and its open enrolments.
   * @returns their serial numbers. @throws ConnectError CERTIFICATE_NOT_FOUND
   */
  async revokeIdentity(identity: string, reason: RevocationReason): Promise<readonly string[]> {
    const { serialNumbers } = await this.#authority.revokeIdentity({ identity, reason });
    return serialNumbers;
  }

  /** When the authority revoked the certificate of this serial number, if it did. */
  async revokedAt(serialNumber: string): Promise<Date | undefined> {
    const { revocationLists } = await this.#authority.getRevocationLists({});
    const lists = revocationLists.map((der) => new RevocationList(der));
    return lists.map((list) => list.revokedAt(serialNumber)).find((date) => date !== undefined);
  }

  /** UAM1. The same contents again are answered with the account. @throws ConnectError ACCOUNT_EXISTS */
  async addAccount(identity: string, contents: AccountContents): Promise<Account> {
    const { account } = await this.#accounts.createAccount({ account: { identity, ...contents } });
    return account ?? missing(identity);
  }

  /** In the order of their identities. */
  async *accounts(): AsyncGenerator<Account, void> {
    let pageToken = "";
    do {
      const page = await this.#accounts.listAccounts({ pageSize: 100, pageToken });
      yield* page.accounts;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** @throws ConnectError ACCOUNT_NOT_FOUND */
  async account(identity: string): Promise<Account> {
    const { account } = await this.#accounts.getAccount({ identity });
    return account ?? missing(identity);
  }

  /** Takes effect at the user's next request. @throws ConnectError ACCOUNT_NOT_FOUND, ACCOUNT_VERSION_STALE */
  async updateAccount(identity: string, change: (account: Account) => AccountContents): Promise<Account> {
    const present = await this.account(identity);
    const { account } = await this.#accounts.updateAccount({
      account: { identity, version: present.version, ...change(present) },
    });
    return account ?? missing(identity);
  }

  /** Ends the sessions as well. @throws ConnectError ACCOUNT_NOT_FOUND */
  async deleteAccount(identity: string): Promise<void> {
    await this.#accounts.deleteAccount({ identity });
  }

  /**
   * Of the right to propose blocks (clause 6.1). Nodes are judged by the revocation lists of now: one that was revoked does not count, whatever it
   * says of itself.
   */
  async proposerChange(): Promise<ProposerChange> {
    const { revocationLists } = await this.#authority.getRevocationLists({});
    const lists = revocationLists.map((der) => toPem("X509 CRL", der));
    this.#peers.reload({ ...tlsCredentials(this.#profile), revocationLists: lists });
    const { privateKeyPem, certificateChainPem } = this.#profile;
    const { networkId, quorum, ledgerNodes } = this.#parameters;
    return new ProposerChange({
      networkId,
      quorum,
      signer: createSigner({ privateKeyPem, certificateChainPem }),
      nodes: ledgerNodes.flatMap(({ entity }) =>
        entity === undefined
          ? []
          : [
              {
                identity: entity.identity,
                certificate: entity.certificate?.certificates[0] ?? new Uint8Array(),
                ledger: this.#client(LedgerService, entity.identity),
                system: this.#client(SystemManagementService, entity.identity),
              },
            ],
      ),
      now: () => new Date(),
    });
  }

  close(): void {
    this.#peers.close();
  }

  get #accounts(): Client<typeof UserAccountService> {
    return this.#client(UserAccountService, this.#profile.managementIdentity);
  }

  get #authority(): Client<typeof CertificationAuthorityService> {
    return this.#client(CertificationAuthorityService, this.#authorityIdentity);
  }

  #client<S extends DescService>(service: S, identity: string): Client<S> {
    return this.#peers.client(service, identity);
  }
}

function missing(identity: string): never {
  throw refusal(ErrorReason.ACCOUNT_NOT_FOUND, identity);
}
