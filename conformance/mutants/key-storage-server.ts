// Faulty key storage servers (clause 6.2.3).
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { decodeJwt } from "jose";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { GetKeyResponseSchema, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { accepting } from "./accepting.ts";
import { type Alteration, type Mutant, unary } from "./mutant.ts";

const { registerKey, storeKey, getKey } = KeyStorageService.method;
const anyKey = () => create(GetKeyResponseSchema, { key: randomBytes(32) });
const redeemed = new Set<string>();
const redeemedAt = new Map<string, number>();

/** Redeems a token that is refused for its times, where these seem right. */
function redeeming(seemsRight: (times: Record<"exp" | "nbf" | "iat", number>, now: number) => boolean): Alteration {
  return unary(
    getKey,
    (original) => (request, context) =>
      accepting(original(request, context), ErrorReason.TOKEN_EXPIRED, () => {
        const { exp = 0, nbf = 0, iat = 0 } = decodeJwt(request.accessToken);
        if (!seemsRight({ exp, nbf, iat }, Date.now() / 1000)) throw refusal(ErrorReason.TOKEN_EXPIRED);
        return anyKey();
      }),
  );
}

export const keyStorageServerMutants: readonly Mutant[] = [
  {
    id: "kss-registers-again",
    clause: "7.3.1",
    breaks: "the same request id gets another key id, so that a lost answer leaves a registration behind",
    foundBy: ["TP/KSS/KSM/BV-05"],
    alterations: [
      unary(
        registerKey,
        (original) => (request, context) => original({ ...request, requestId: randomBytes(16) }, context),
      ),
    ],
  },
  {
    id: "kss-address-of-another",
    clause: "7.2.1",
    breaks: "the address to get the key from names another server",
    foundBy: ["TP/KSS/KSM/BV-01"],
    alterations: [
      unary(registerKey, (original) => async (request, context) => {
        const answer = await original(request, context);
        return { ...answer, keyAddress: answer.keyAddress.replace("kss.", "kss.other-") };
      }),
    ],
  },
  {
    id: "kss-stores-silently",
    clause: "6.2.3",
    breaks: "the provider is not notified that the key is stored (KSM4)",
    foundBy: ["TP/KSS/KSM/BV-02"],
    alterations: [
      unary(storeKey, (original) => async (request, context) => {
        const { storedAt: _, ...answer } = await original(request, context);
        return answer;
      }),
    ],
  },
  {
    id: "kss-gives-another-key",
    clause: "6.2.3",
    breaks: "the consumer gets a key that is not the provider's (KSM6)",
    foundBy: ["TP/KSS/TV/BV-01"],
    alterations: [
      unary(getKey, (original) => async (request, context) => ({
        ...(await original(request, context)),
        key: Buffer.from(request.keyId + request.keyId, "hex"),
      })),
    ],
  },
  {
    id: "kss-ignores-token-signature",
    clause: "6.2.3",
    breaks: "a token whose signature does not verify is redeemed (TV2)",
    foundBy: ["TP/KSS/TV/BI-18"],
    alterations: [
      unary(
        getKey,
        (original) => (request, context) => accepting(original(request, context), ErrorReason.TOKEN_INVALID, anyKey),
      ),
    ],
  },
  {
    id: "kss-ignores-nbf",
    clause: "6.2.3",
    breaks: "a token is redeemed before the time from which it is valid; the time of its issue is looked at",
    foundBy: ["TP/KSS/TV/BI-02"],
    alterations: [redeeming(({ exp, iat }, now) => exp > now && iat <= now + 60)],
  },
  {
    id: "kss-ignores-iat",
    clause: "6.2.3",
    breaks: "a token is redeemed before it was issued; the time from which it is valid is looked at",
    foundBy: ["TP/KSS/TV/BI-31"],
    alterations: [redeeming(({ exp, nbf }, now) => exp > now && nbf <= now + 60)],
  },
  {
    id: "kss-allows-for-five-minutes",
    clause: "6.2.3",
    breaks: "the clock skew is five minutes instead of one",
    foundBy: ["TP/KSS/TV/BI-01", "TP/KSS/TV/BI-02", "TP/KSS/TV/BI-31"],
    alterations: [redeeming(({ exp, nbf, iat }, now) => exp > now - 300 && nbf < now + 300 && iat < now + 300)],
  },
  {
    id: "kss-forgets-redemptions",
    clause: "7.3.2",
    breaks: "that a token was redeemed is remembered for two seconds",
    foundBy: ["TP/KSS/TV/BO-01"],
    alterations: [
      unary(getKey, (original) => async (request, context) => {
        const { jti = "" } = decodeJwt(request.accessToken);
        const answer = accepting(original(request, context), ErrorReason.TOKEN_REDEEMED, () => {
          if (Date.now() - (redeemedAt.get(jti) ?? 0) < 2000) throw refusal(ErrorReason.TOKEN_REDEEMED);
          return anyKey();
        });
        await answer;
        if (!redeemedAt.has(jti)) redeemedAt.set(jti, Date.now());
        return answer;
      }),
    ],
  },
  {
    id: "kss-redeems-twice",
    clause: "7.3.2",
    breaks: "a token is redeemed again under another request id",
    foundBy: ["TP/KSS/TV/BO-01", "TP/KSS/TV/BV-06"],
    alterations: [
      unary(
        getKey,
        (original) => (request, context) => accepting(original(request, context), ErrorReason.TOKEN_REDEEMED, anyKey),
      ),
    ],
  },
  {
    id: "kss-refuses-the-repeat",
    clause: "7.3.2",
    breaks: "the same request id does not get its key again, so that a lost answer costs an access",
    foundBy: ["TP/KSS/TV/BV-07"],
    alterations: [
      unary(getKey, (original) => async (request, context) => {
        const id = Buffer.from(request.requestId).toString("hex");
        const answer = await original(request, context);
        if (redeemed.has(id)) throw refusal(ErrorReason.TOKEN_REDEEMED);
        redeemed.add(id);
        return answer;
      }),
    ],
  },
  {
    id: "kss-refuses-for-another-reason",
    clause: "6.2.3",
    breaks: "an invalid token is refused, but as if there were no such key",
    foundBy: ["TP/KSS/TV/BI-18"],
    alterations: [
      unary(
        getKey,
        (original) => (request, context) =>
          accepting(original(request, context), ErrorReason.TOKEN_INVALID, () => {
            throw refusal(ErrorReason.KEY_NOT_FOUND);
          }),
      ),
    ],
  },
];
