// Faulty key storage servers (clause 6.2.3).
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { GetKeyResponseSchema, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { accepting } from "./accepting.ts";
import { type Mutant, unary } from "./mutant.ts";

const { registerKey, storeKey, getKey } = KeyStorageService.method;
const anyKey = () => create(GetKeyResponseSchema, { key: randomBytes(32) });
const redeemed = new Set<string>();

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
