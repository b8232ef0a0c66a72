// The tester's management: issues tokens of any shape, right or wrong, publishes its keys, and answers what a key storage server asks
// of it (F4.13.2). No user ever talks to it.
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { decodeJwt, exportJWK, SignJWT } from "jose";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { NetworkParameters } from "../../gen/x1410/v1/ledger_pb.ts";
import { GetNetworkParametersResponseSchema, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import {
  IntrospectTokenResponseSchema,
  ListTokenKeysResponseSchema,
  TokenService,
} from "../../gen/x1410/v1/token_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { implement, type Registration } from "../../reference/communications/service.ts";

export interface TokenOrder {
  readonly keyId: string;
  /** The one audience, a key storage server. */
  readonly keyServer: string;
  readonly consumer: { readonly identity: string; readonly certificateSha256: Uint8Array };
}

/** What a token says otherwise than a good one; `undefined` leaves a claim out. */
export interface TokenFaults {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly key?: KeyObject | Uint8Array;
}

export type TokenAlgorithm = "ES256" | "EdDSA";
export type Introspection = "active" | "inactive" | "unavailable";

const LIFETIME_SECONDS = 300;

interface SigningKey {
  readonly kid: string;
  readonly alg: TokenAlgorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export class TesterManagement {
  readonly identity: string;
  readonly #networkId: string;
  readonly #keys: Readonly<Record<TokenAlgorithm, SigningKey>>;
  readonly #tokens = new Map<string, { answer: Introspection; asked: number; readonly expiresAt: number }>();

  constructor(identity: string, networkId: string) {
    this.identity = identity;
    this.#networkId = networkId;
    this.#keys = {
      ES256: newKey("ES256", generateKeyPairSync("ec", { namedCurve: "P-256" })),
      EdDSA: newKey("EdDSA", generateKeyPairSync("ed25519")),
    };
  }

  /** The public half of what signs tokens; the secret of a forged HS256 token, for one. */
  publicKey(algorithm: TokenAlgorithm = "ES256"): KeyObject {
    return this.#keys[algorithm].publicKey;
  }

  /** A token as RFC 9068 and the profile want it, but for its faults. */
  async issue(order: TokenOrder, faults: TokenFaults = {}, algorithm: TokenAlgorithm = "ES256"): Promise<string> {
    const { kid, alg, privateKey } = this.#keys[algorithm];
    const seconds = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({
      iss: this.identity,
      aud: order.keyServer,
      sub: order.consumer.identity,
      jti: hex(),
      iat: seconds,
      nbf: seconds,
      exp: seconds + LIFETIME_SECONDS,
      cnf: { "x5t#S256": Buffer.from(order.consumer.certificateSha256).toString("base64url") },
      authorization_details: [this.authorization(order.keyId)],
      ...faults.claims,
    })
      .setProtectedHeader({ alg, typ: "at+jwt", kid, ...faults.header })
      .sign(faults.key ?? privateKey);
    const { jti, exp = seconds } = decodeJwt(token);
    if (typeof jti === "string") this.#tokens.set(jti, { answer: "active", asked: 0, expiresAt: exp * 1000 });
    return token;
  }

  /** What the token says about the access (RFC 9396). */
  authorization(keyId: string): Record<string, unknown> {
    return {
      type: "x1410_key",
      key_id: keyId,
      package_id: hex(),
      contract: `x1410://dlt.${this.#networkId}/contracts/${hex()}`,
      access_id: hex(),
    };
  }

  /** How introspection of this token is answered from now on. */
  answer(token: string, answer: Introspection): void {
    this.#issued(token).answer = answer;
  }

  /** How often a key storage server has asked about this token. */
  asked(token: string): number {
    return this.#issued(token).asked;
  }

  registrations(parameters: () => NetworkParameters): readonly Registration[] {
    return [
      implement(TokenService, {
        listTokenKeys: async () => {
          const keys = Object.values(this.#keys).map(async ({ kid, alg, publicKey }) => ({
            ...(await exportJWK(publicKey)),
            kid,
            alg,
            use: "sig",
          }));
          return create(ListTokenKeysResponseSchema, {
            issuer: this.identity,
            jwks: JSON.stringify({ keys: await Promise.all(keys) }),
          });
        },
        introspectToken: ({ tokenId }) => {
          const issued = this.#tokens.get(tokenId);
          if (issued === undefined) throw refusal(ErrorReason.TOKEN_NOT_FOUND);
          issued.asked++;
          if (issued.answer === "unavailable") throw refusal(ErrorReason.PEER_UNAVAILABLE);
          return create(IntrospectTokenResponseSchema, {
            active: issued.answer === "active",
            expiresAt: timestampFromMs(issued.expiresAt),
          });
        },
      }),
      implement(SystemManagementService, {
        getNetworkParameters: () => create(GetNetworkParametersResponseSchema, { parameters: parameters() }),
      }),
    ];
  }

  #issued(token: string) {
    const issued = this.#tokens.get(decodeJwt(token).jti ?? "");
    if (issued === undefined) throw new Error("the tester's management has not issued this token");
    return issued;
  }
}

function newKey(alg: TokenAlgorithm, pair: { privateKey: KeyObject; publicKey: KeyObject }): SigningKey {
  return { kid: `kit-${hex().slice(0, 16)}`, alg, ...pair };
}

function hex(): string {
  return randomBytes(16).toString("hex");
}
