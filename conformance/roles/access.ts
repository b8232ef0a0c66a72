// What Figure 4 and Annex A.2 have in common: a consumer finds shared data, executes the contract, and what comes with the token is
// judged arrow by arrow. Where the step of a figure is meant, Figure 4 comes first.
import type { RequestAccessResponse } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import type { AccessRequest } from "../../gen/x1410/v1/data_sharing_pb.ts";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { withBitFlipped, withTokenAltered } from "../mutation.ts";
import { accessOnLedger } from "../procedures/ledger-evidence.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRecent } from "../procedures/recent-time.ts";
import { boundTo, type TokenClaims } from "../procedures/token-claims.ts";
import { expectRefusal } from "../refusal.ts";
import type { DataConsumer, Found } from "./data-consumer.ts";
import type { Shared } from "./data-provider.ts";
import { expectCertificateOf } from "./server-certificate.ts";
import type { Seen } from "./user.ts";

/** Finding shared data: search, subscription, forwarded (F4.1, A2.1). */
export async function findByAllWays(
  consumer: DataConsumer,
  { stored, contractAddress }: Shared,
  seen: Seen,
): Promise<Found> {
  const searched = await consumer.search(stored.id);
  const subscribed = await consumer.awaitPublication(stored.id);
  const forwarded = await consumer.lookUp(contractAddress);
  const ways = [searched, subscribed, forwarded].map((published) => published?.contractAddress);
  expect(
    ways.every((address) => address === contractAddress),
    "the same contract by all three ways",
  );
  seen(`${contractAddress}, by all three ways`);
  return consumer.checkPublication(forwarded);
}

/** One access of `consumer` to what it has found. */
export class Access {
  readonly #consumer: DataConsumer;
  readonly #shared: Shared;
  readonly #asked: AccessRequest;
  readonly #request: SignedEnvelope;
  readonly #beganMs = Date.now();

  constructor(consumer: DataConsumer, shared: Shared, found: Found) {
    this.#consumer = consumer;
    this.#shared = shared;
    this.#asked = consumer.accessRequest(found);
    this.#request = consumer.signRequest(this.#asked);
  }

  /** F4.3, A2.3. */
  async request(seen: Seen): Promise<RequestAccessResponse> {
    const forged = withBitFlipped(this.#request);
    await expectRefusal(() => this.#consumer.requestAccess(forged), ErrorReason.SIGNATURE_INVALID);
    const grant = await this.#consumer.requestAccess(this.#request);
    seen(`access ${grant.record?.accessId}; one flipped bit is refused as SIGNATURE_INVALID`);
    return grant;
  }

  /** F4.4, A2.4. */
  recorded(grant: RequestAccessResponse, seen: Seen): void {
    accessOnLedger(grant, this.#request, this.#consumer.identity, this.#consumer.trust);
    expect(grant.record?.consumerIdentity === this.#consumer.identity, "a record of this consumer");
    expect(grant.record.purpose === this.#asked.purpose, "a record with the purpose that the consumer stated");
    expectRecent(grant.record.accessedAt, "accessed_at of the record", this.#beganMs);
    seen(`block ${grant.record?.receipt?.blockHeight}; proof and commitments hold`);
  }

  /** F4.5, A2.5. */
  tokenOrdered({ accessToken, record }: RequestAccessResponse, seen: Seen): TokenClaims {
    const { bound, text } = boundTo(accessToken, this.#consumer.certificateSha256);
    expect(
      bound.keyId === this.#shared.key.id && bound.accessId === record?.accessId,
      "a token for this key and this access",
    );
    seen(text);
    return bound;
  }

  /** F4.6, A2.6. */
  tokenCreated({ audience, lifetimeSeconds }: TokenClaims, seen: Seen): void {
    expect(audience === this.#consumer.target.entities.kss.identity, "a token for the key storage server alone");
    expect(lifetimeSeconds <= 300, "a lifetime of 5 minutes at most");
    seen(`for ${audience}, ${lifetimeSeconds} s, bound to the consumer's certificate`);
  }

  /** F4.7, A2.7. */
  async tokenHandedOver(grant: RequestAccessResponse, { tokenId }: TokenClaims, seen: Seen): Promise<void> {
    const again = await this.#consumer.requestAccess(this.#request);
    expect(again.record?.accessId === grant.record?.accessId, "the first record for the identical request");
    const { bound } = boundTo(again.accessToken, this.#consumer.certificateSha256);
    expect(bound.tokenId === tokenId, "the same token id");
    seen("the identical request gets the same record and the same token id");
  }

  /** F4.11, A2.8: where key and package are, and by which certificates their servers are known. */
  serversNamed({ key, package: stored }: RequestAccessResponse): void {
    const { kss, dss } = this.#consumer.target.entities;
    expect(
      key?.keyAddress === this.#shared.key.address && stored?.packageAddress === this.#shared.stored.address,
      "both addresses",
    );
    expectCertificateOf(kss.identity, key.server, this.#consumer.trust);
    expectCertificateOf(dss.identity, stored.server, this.#consumer.trust);
  }

  /** F4.12.2, A2.9. */
  redeem({ accessToken }: RequestAccessResponse, seen: Seen): Promise<Uint8Array> {
    return this.#consumer.getKey(accessToken, this.#shared.key.id, seen);
  }

  /** F4.13.1, A2.10.1. */
  async alteredTokenRefused({ accessToken }: RequestAccessResponse, seen: Seen): Promise<void> {
    const altered = withTokenAltered(accessToken);
    await expectRefusal(() => this.#consumer.getKey(altered, this.#shared.key.id, () => {}), ErrorReason.TOKEN_INVALID);
    seen("a token with one altered character is refused as TOKEN_INVALID");
  }

  /** F4.14, A2.11. */
  async secondRedemptionRefused({ accessToken }: RequestAccessResponse, seen: Seen): Promise<void> {
    await expectRefusal(
      () => this.#consumer.getKey(accessToken, this.#shared.key.id, () => {}),
      ErrorReason.TOKEN_REDEEMED,
    );
    seen("a second redemption is refused as TOKEN_REDEEMED");
  }

  /** F4.16, A2.14. */
  async namelessRefused(seen: Seen): Promise<void> {
    await this.#consumer.connect("dss", () => {});
    seen("who shows no certificate is refused");
  }
}
