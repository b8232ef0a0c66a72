// Storage servers that refuse or lose what they should do (clauses 6.2.3 and 6.2.4).
import { create } from "@bufbuild/protobuf";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import {
  DataStorageService,
  DeletePackageResponseSchema,
  PackageState,
  SetPackageUseResponseSchema,
  type StorePackageRequest,
  type StorePackageResponse,
} from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  DeleteKeyResponseSchema,
  type GetKeyRequest,
  GetKeyResponseSchema,
  KeyState,
  KeyStorageService,
  type RegisterKeyResponse,
  SetKeyUseResponseSchema,
} from "../../gen/x1410/v1/key_storage_pb.ts";
import { peerKey } from "../../reference/communications/peer.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { acceptingAll } from "./accepting.ts";
import { type Alteration, type Mutant, streaming, unary } from "./mutant.ts";

const { registerKey, storeKey, getKeyStatus, deleteKey, setKeyUse, getKey } = KeyStorageService.method;
const { storePackage, getPackageStatus, deletePackage, setPackageUse } = DataStorageService.method;
const { getPackage } = DataDistributionService.method;

const registrations = new Map<string, Promise<RegisterKeyResponse>>();
const secrets = new Map<string, Uint8Array>();
const stored = new Set<string>();
let issuer: unknown;
let open = 0;

type Token = Readonly<Record<string, unknown>>;
const part = (token: string, index: number) =>
  JSON.parse(Buffer.from(token.split(".")[index] ?? "", "base64url").toString() || "{}") as Token;

/** Refuses tokens that are good, where `wrong` says so of header and claims. */
function refusing(reason: ErrorReason, wrong: (header: Token, claims: Token) => boolean): Alteration {
  return unary(getKey, (original) => (request: GetKeyRequest, context) => {
    if (wrong(part(request.accessToken, 0), part(request.accessToken, 1))) throw refusal(reason);
    return original(request, context);
  });
}

/** Sees the parts of an upload as they come. */
function uploads(
  alter: (
    parts: AsyncIterable<StorePackageRequest>,
    store: (parts: AsyncIterable<StorePackageRequest>) => Promise<StorePackageResponse>,
  ) => Promise<StorePackageResponse>,
): Alteration {
  return {
    method: storePackage,
    wrap: (original) => (input, context) =>
      alter(input, (parts) => original(parts as never, context) as Promise<StorePackageResponse>),
  };
}

export const validStorageMutants: readonly Mutant[] = [
  {
    id: "kss-says-stored-at-once",
    clause: "6.2.3",
    breaks: "a registered key is called stored",
    foundBy: ["TP/KSS/KSM/BV-03"],
    alterations: [
      unary(getKeyStatus, (original) => async (request, context) => ({
        ...(await original(request, context)),
        state: KeyState.STORED,
      })),
    ],
  },
  {
    id: "kss-mixes-owners",
    clause: "6.2.3",
    breaks: "a request id gets another owner's registration",
    foundBy: ["TP/KSS/KSM/BV-04"],
    alterations: [
      unary(registerKey, (original) => (request, context) => {
        const id = Buffer.from(request.requestId).toString("hex");
        const answer = registrations.get(id) ?? original(request, context);
        registrations.set(id, answer);
        return answer;
      }),
    ],
  },
  {
    id: "kss-confirms-every-key",
    clause: "6.2.3",
    breaks: "of keys that come at once all are confirmed and one is kept",
    foundBy: ["TP/KSS/KSM/BV-06"],
    alterations: [acceptingAll(storeKey, ErrorReason.KEY_EXISTS)],
  },
  {
    id: "kss-deletes-nothing",
    clause: "6.2.3",
    breaks: "a deletion is confirmed, and the key stays",
    foundBy: ["TP/KSS/KSM/BV-07"],
    alterations: [unary(deleteKey, () => async () => create(DeleteKeyResponseSchema))],
  },
  {
    id: "kss-frees-nothing",
    clause: "6.2.2",
    breaks: "a key stays in use for ever",
    foundBy: ["TP/KSS/KSM/BV-08", "TP/DSSM/DSPM/BV-12"],
    alterations: [
      unary(
        setKeyUse,
        (original) => async (request, context) =>
          request.inUse ? original(request, context) : create(SetKeyUseResponseSchema),
      ),
    ],
  },
  {
    id: "kss-knows-no-eddsa",
    clause: "6.2.3",
    breaks: "tokens signed with Ed25519 are refused",
    foundBy: ["TP/KSS/TV/BV-02"],
    alterations: [refusing(ErrorReason.TOKEN_INVALID, ({ alg }) => alg !== "ES256")],
  },
  {
    id: "kss-does-not-ask",
    clause: "7.3.2",
    breaks: "keys leave without a question to token management, and it is claimed that one is asked",
    foundBy: ["TP/KSS/TV/BV-10"],
    alterations: [
      unary(storeKey, (original) => (request, context) => {
        // A copy: the reference wipes the key that it was given.
        secrets.set(request.keyId, request.key.slice());
        return original(request, context);
      }),
      unary(getKey, (original) => async (request, context) => {
        const key = secrets.get(request.keyId);
        return key === undefined ? original(request, context) : create(GetKeyResponseSchema, { key });
      }),
    ],
  },
  {
    id: "kss-allows-for-no-skew",
    clause: "6.2.3",
    breaks: "a clock that is half a minute apart costs the access",
    foundBy: ["TP/KSS/TV/BV-03"],
    alterations: [
      refusing(ErrorReason.TOKEN_EXPIRED, (_, { exp, nbf, iat }) => {
        const now = Date.now() / 1000;
        return Number(exp) < now || Number(nbf ?? iat) > now + 1;
      }),
    ],
  },
  {
    id: "kss-wants-the-short-type",
    clause: "6.2.3",
    breaks: "the media type of a token in its long form is refused",
    foundBy: ["TP/KSS/TV/BV-04"],
    alterations: [refusing(ErrorReason.TOKEN_INVALID, ({ typ }) => typ !== "at+jwt")],
  },
  {
    id: "kss-knows-one-management",
    clause: "6.2.3",
    breaks: "tokens of a second management are refused",
    foundBy: ["TP/KSS/TV/BV-05"],
    alterations: [
      refusing(ErrorReason.TOKEN_INVALID, (_, { iss }) => {
        issuer ??= iss;
        return issuer !== iss;
      }),
    ],
  },
  {
    id: "dss-refuses-the-repeat",
    clause: "6.2.4",
    breaks: "the same package again is refused, so that a lost answer costs the upload",
    foundBy: ["TP/DSS/DSM/BV-03"],
    alterations: [
      uploads(async (parts, store) => {
        const answer = await store(parts);
        const digest = Buffer.from(answer.sha256).toString("hex");
        if (stored.has(digest)) throw refusal(ErrorReason.PACKAGE_EXISTS);
        stored.add(digest);
        return answer;
      }),
    ],
  },
  {
    id: "dss-takes-few-parts",
    clause: "6.2.4",
    breaks: "a package in more than three parts is refused",
    foundBy: ["TP/DSS/DSM/BV-04"],
    alterations: [
      uploads((parts, store) =>
        store(
          (async function* () {
            let count = 0;
            for await (const each of parts) {
              if (count++ > 3) throw refusal(ErrorReason.REQUEST_INVALID, "data");
              yield each;
            }
          })(),
        ),
      ),
    ],
  },
  {
    id: "dss-resumes-elsewhere",
    clause: "6.2.4",
    breaks: "the committed offset is not what is kept",
    foundBy: ["TP/DSS/DSM/BV-05", "TP/DSS/DSM/BV-07"],
    alterations: [
      unary(getPackageStatus, (original) => async (request, context) => {
        const answer = await original(request, context);
        return answer.state === PackageState.STORED
          ? answer
          : { ...answer, committedOffset: answer.committedOffset + 7n };
      }),
    ],
  },
  {
    id: "dss-begins-nothing-again",
    clause: "6.2.4",
    breaks: "an upload that was broken off cannot be begun again",
    foundBy: ["TP/DSS/DSM/BV-06"],
    alterations: [
      uploads((parts, store) => {
        let id = "";
        return store(
          (async function* () {
            for await (const each of parts) {
              if (each.part.case === "open") {
                id = each.part.value.packageId;
                if (each.part.value.offset === 0n && stored.has(id)) throw refusal(ErrorReason.PACKAGE_EXISTS);
                stored.add(id);
              }
              yield each;
            }
          })(),
        );
      }),
    ],
  },
  {
    id: "dss-deletes-nothing",
    clause: "6.2.4",
    breaks: "a deletion is confirmed, and the package stays",
    foundBy: ["TP/DSS/DSM/BV-08"],
    alterations: [unary(deletePackage, () => async () => create(DeletePackageResponseSchema))],
  },
  {
    id: "dss-frees-nothing",
    clause: "6.2.2",
    breaks: "a package stays in use for ever",
    foundBy: ["TP/DSS/DSM/BV-09"],
    alterations: [
      unary(
        setPackageUse,
        (original) => async (request, context) =>
          request.inUse ? original(request, context) : create(SetPackageUseResponseSchema),
      ),
    ],
  },
  {
    id: "dss-confirms-every-package",
    clause: "6.2.4",
    breaks: "of packages that come at once all are confirmed",
    foundBy: ["TP/DSS/DSM/BV-10"],
    alterations: [
      uploads((parts, store) =>
        store(parts).catch(() => ({
          $typeName: "x1410.v1.StorePackageResponse",
          size: 0n,
          sha256: new Uint8Array(),
        })),
      ),
    ],
  },
  {
    id: "dss-begins-at-the-beginning",
    clause: "6.2.4",
    breaks: "the offset to go on from is not looked at",
    foundBy: ["TP/DSS/DD/BV-02"],
    alterations: [
      streaming(getPackage, (original) => (request, context) => original({ ...request, offset: 0n }, context)),
    ],
  },
  {
    id: "dss-forgets-the-owner",
    clause: "6.2.4",
    breaks: "the owner may not have its own package",
    foundBy: ["TP/DSS/DD/BV-03"],
    alterations: [
      streaming(getPackage, (original) => (request, context) => {
        if (context.values.get(peerKey).identity.endsWith("provider")) throw refusal(ErrorReason.PACKAGE_NOT_FOUND);
        return original(request, context);
      }),
    ],
  },
  {
    id: "dss-serves-one-at-a-time",
    clause: "6.2.4",
    breaks: "a second consumer at the same time is refused",
    foundBy: ["TP/DSS/DD/BV-04"],
    alterations: [
      streaming(
        getPackage,
        (original) =>
          async function* (request, context) {
            if (open > 0) throw refusal(ErrorReason.SUBSCRIPTION_LIMIT);
            open += 1;
            try {
              yield* original(request, context);
            } finally {
              open -= 1;
            }
          },
      ),
    ],
  },
  {
    id: "dss-goes-on-nowhere",
    clause: "6.2.4",
    breaks: "who has left in the middle must begin again",
    foundBy: ["TP/DSS/DD/BV-05"],
    alterations: [
      streaming(getPackage, (original) => (request, context) => {
        if (request.offset > 0n) throw refusal(ErrorReason.PACKAGE_NOT_FOUND);
        return original(request, context);
      }),
    ],
  },
];
