// Faulty communications (clause 7.2.5), and what else lies below all handlers, of each of the three entities.
import { randomBytes } from "node:crypto";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { peerKey } from "../../reference/communications/peer.ts";
import { pskServerOptions } from "../../reference/communications/psk-handshake.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { implement, type Registration } from "../../reference/communications/service.ts";
import type { PurposeId } from "../purposes/purpose.ts";
import { type EntityRole, entityRoles } from "../target.ts";
import { type Alteration, type Mutant, unary } from "./mutant.ts";
import { allBut, bare, listener, material, preSharedKeys, server, unproven } from "./stand-in.ts";

interface Asked {
  /** Any user may call it; it is asked for something that there is not. */
  readonly method: DescMethodUnary;
  readonly registration: Registration;
  /** Length of the right request with its frame. */
  readonly bytes: number;
  /** What is done through the exposure port is not done. */
  readonly apart: Alteration;
}

const absent = (reason: ErrorReason) => () => {
  throw refusal(reason);
};

const asked: Readonly<Record<EntityRole, Asked>> = {
  dssm: {
    method: UserAuthenticationService.method.beginAuthentication,
    registration: implement(UserAuthenticationService, { beginAuthentication: absent(ErrorReason.ACCOUNT_NOT_FOUND) }),
    bytes: 5,
    apart: unary(UserAccountService.method.getAccount, (original) => async (request, context) => {
      const { account, ...answer } = await original(request, context);
      return context.protocolName === "grpc" && account !== undefined ? { ...answer, account } : answer;
    }),
  },
  kss: {
    method: KeyStorageService.method.getKeyStatus,
    registration: implement(KeyStorageService, { getKeyStatus: absent(ErrorReason.KEY_NOT_FOUND) }),
    bytes: 39,
    apart: unary(
      KeyStorageService.method.storeKey,
      (original) => (request, context) =>
        context.protocolName === "grpc"
          ? original(request, context)
          : Promise.resolve({ $typeName: "x1410.v1.StoreKeyResponse" }),
    ),
  },
  dss: {
    method: DataStorageService.method.getPackageStatus,
    registration: implement(DataStorageService, { getPackageStatus: absent(ErrorReason.PACKAGE_NOT_FOUND) }),
    bytes: 39,
    apart: unary(
      DataStorageService.method.registerPackage,
      (original) => (request, context) =>
        original(context.protocolName === "grpc" ? request : { ...request, requestId: randomBytes(16) }, context),
    ),
  },
};

const certificates = new Map<string, string>();

/** Refuses a user under another certificate than its first. */
function pinning(role: EntityRole): Alteration {
  return {
    method: asked[role].method,
    wrap: (original) => (input, context) => {
      const { identity, fingerprint } = context.values.get(peerKey);
      const key = `${role} ${identity}`;
      if ((certificates.get(key) ?? fingerprint) !== fingerprint) throw refusal(ErrorReason.CALLER_NOT_ALLOWED);
      certificates.set(key, fingerprint);
      return original(input, context);
    },
  };
}

function mutantsOf(role: EntityRole): readonly Mutant[] {
  const { registration, bytes, apart } = asked[role];
  const entity = role.toUpperCase() as Uppercase<EntityRole>;
  const found = (...ends: readonly [string, ...string[]]) =>
    ends.map((end) => `TP/${entity}/${end}`) as unknown as readonly [PurposeId, ...PurposeId[]];
  const faults: readonly (Omit<Mutant, "clause" | "foundBy"> & { readonly foundBy: Mutant["foundBy"] })[] = [
    {
      id: "aac-lets-the-nameless-in",
      breaks: "a client without certificate is let in",
      foundBy: found("AAC/BI-01"),
      standIn: allBut(role, "NO_CERTIFICATE"),
    },
    {
      id: "aac-ignores-the-end",
      breaks: "an expired certificate is taken",
      foundBy: found("AAC/BI-02"),
      standIn: allBut(role, "CERT_HAS_EXPIRED"),
    },
    {
      id: "aac-ignores-the-beginning",
      breaks: "a certificate is taken before its time",
      foundBy: found("AAC/BI-03"),
      standIn: allBut(role, "CERT_NOT_YET_VALID"),
    },
    {
      id: "aac-ignores-the-usage",
      breaks: "a server's certificate is taken for a client's",
      foundBy: found("AAC/BI-04"),
      standIn: allBut(role, "INVALID_PURPOSE"),
    },
    {
      id: "aac-takes-users-for-authorities",
      breaks: "what an end entity signed is believed",
      foundBy: found("AAC/BI-05"),
      // OpenSSL's "invalid non-CA certificate" has no name in Node.js.
      standIn: allBut(role, "UNSPECIFIED", "INVALID_CA"),
    },
    {
      id: "aac-ignores-the-path-length",
      breaks: "an authority against the path length is believed",
      foundBy: found("AAC/BI-06"),
      standIn: allBut(role, "PATH_LENGTH_EXCEEDED", "UNABLE_TO_GET_CRL"),
    },
    {
      id: "aac-compares-names",
      breaks: "an authority of the same name is believed",
      foundBy: found("AAC/BI-07"),
      standIn: allBut(
        role,
        "SELF_SIGNED_CERT_IN_CHAIN",
        "UNABLE_TO_GET_ISSUER_CERT",
        "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
        "CERT_SIGNATURE_FAILURE",
        "UNABLE_TO_GET_CRL",
        "CRL_SIGNATURE_FAILURE",
      ),
    },
    {
      id: "aac-speaks-tls-1.2",
      breaks: "TLS 1.2 is spoken and not claimed",
      foundBy: found("AAC/BI-08"),
      standIn: listener(
        role,
        (authority) => ({ ...material(authority, role), minVersion: "TLSv1.2" }),
        () => true,
      ),
    },
    {
      id: "aac-never-reads-lists-again",
      breaks: "revocation lists are read once",
      foundBy: found("AAC/BI-09"),
      standIn: allBut(role),
    },
    {
      id: "aac-is-another",
      breaks: "the server's certificate is another entity's",
      foundBy: found("AAC/CA-01"),
      standIn: listener(
        role,
        (authority) => material(authority, role === "dss" ? "kss" : "dss"),
        () => true,
      ),
    },
    {
      id: "aac-judges-at-the-handshake-alone",
      breaks: "open connections outlive their certificates",
      foundBy: found("AAC/BI-10", "AAC/BI-14"),
      standIn: server(role, { clients: "anonymous", alterGuards: () => [], registrations: [registration] }),
    },
    {
      id: "aac-does-not-ask-who",
      breaks: "calls are answered to whoever has some certificate",
      foundBy: found("AAC/BI-11", "AAC/BI-12", "AAC/BI-13"),
      standIn: server(role, { clients: "anonymous", alterGuards: () => [], registrations: [registration] }),
    },
    {
      id: "aac-pins-certificates",
      breaks: "a user's second certificate is refused",
      foundBy: found("AAC/BV-01"),
      alterations: [pinning(role)],
    },
    {
      id: "exposure-asks-for-no-certificate",
      breaks: "the exposure port lets everybody in",
      foundBy: found("API/BI-41", "API/BI-42"),
      standIn: listener(
        role,
        (authority) => material(authority, role),
        () => true,
        "exposure",
      ),
    },
    {
      id: "exposure-has-a-state-of-its-own",
      breaks: "what is stored through the exposure port is not what the gRPC port has",
      foundBy: found("API/CA-04", "API/CA-05"),
      alterations: [apart],
    },
    {
      id: "without-standard-services",
      breaks: "neither health nor reflection is answered",
      foundBy: found("API/CA-02", "API/CA-03"),
      standIn: server(role, { health: false, reflection: false, registrations: [registration] }),
    },
    {
      id: "blames-nobody",
      breaks: "whatever is wrong comes out as UNKNOWN",
      foundBy: found("API/BI-31", "API/BI-32", "API/BI-33", "API/BI-34"),
      standIn: bare(role, ({ body }) => (body.length === bytes ? Code.NotFound : Code.Unknown)),
    },
    {
      id: "gives-up-on-resets",
      breaks: "after a hundred resets nobody is served",
      foundBy: found("API/BI-35"),
      standIn: bare(role, ({ resets }) => (resets > 100 ? Code.ResourceExhausted : Code.NotFound)),
    },
    {
      id: "gives-up-on-the-silent",
      breaks: "while ten handshakes stall nobody is served",
      foundBy: found("API/BI-36"),
      standIn: bare(role, ({ silent }) => (silent > 9 ? Code.ResourceExhausted : Code.NotFound)),
    },
    {
      id: "psk-tells-who-is-known",
      breaks: "an unknown identity is refused by another alert than a wrong key",
      foundBy: found("AAC/BI-21"),
      standIn: preSharedKeys(role, (keys) => {
        const options = pskServerOptions(keys, () => {});
        return {
          ...options,
          pskCallback: (_socket, identity) => (keys.keyOf(identity) as NodeJS.ArrayBufferView | null) ?? null,
        };
      }),
    },
    {
      id: "psk-or-nothing",
      breaks: "at the port for keys a certificate serves the server, and nothing the client",
      foundBy: found("AAC/BI-23"),
      standIn: preSharedKeys(role, (keys, certificate) => ({ ...certificate, ...pskServerOptions(keys, () => {}) })),
    },
    {
      id: "psk-12",
      breaks: "TLS 1.2 is spoken at the port for keys",
      foundBy: found("AAC/BI-24"),
      standIn: preSharedKeys(role, (keys) => {
        const { pskCallback } = pskServerOptions(keys, () => {});
        return {
          pskCallback,
          pskIdentityHint: "",
          minVersion: "TLSv1.2",
          ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305:PSK-AES256-GCM-SHA384",
        };
      }),
    },
    {
      id: "psk-proves-nothing",
      breaks: "the server does not prove itself by certificate",
      foundBy: found("AAC/BV-21"),
      standIn: unproven(role, [registration]),
    },
  ];
  return faults.map((mutant) => ({
    ...mutant,
    id: `${role}-${mutant.id}`,
    clause: "7.2.5",
    breaks: `${mutant.breaks} (${entity})`,
  }));
}

export const communicationsMutants: readonly Mutant[] = entityRoles.flatMap(mutantsOf);
