// The capabilities exposure APIs (API1 to API3, clauses 6.2.2 to 6.2.4), where a server has a port for them: the same interface in JSON, by
// Connect and by gRPC-Web, and every rule of the gRPC port holds there as well.
import { create, type DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyState, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import {
  BeginAuthenticationResponseSchema,
  UserAuthenticationService,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { connectTransport } from "../../reference/communications/connect-transport.ts";
import { anyRequestInJson } from "../any-request.ts";
import { Channels } from "../channels.ts";
import { identityIn } from "../credential.ts";
import { expectEstablished, expectRefused } from "../handshake-verdict.ts";
import { recorded } from "../message-log.ts";
import { expect, Inconclusive } from "../procedures/procedure.ts";
import { expectRefusal } from "../refusal.ts";
import { type Credential, type EntityRole, entityRoles } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { byCertificate, type Handshake } from "../tls-probe.ts";
import { dataStorage, registeredPackage } from "./dss-stored-package.ts";
import { statement } from "./dssm-user-statement.ts";
import { faultyCertificates } from "./faulty-certificates.ts";
import { keyStorage, registeredKey } from "./kss-stored-key.ts";
import { expectInvalidField, freshId, notIds } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { refreshTime, refusedWithin } from "./revocation-refresh.ts";

type Form = "JSON" | "gRPC-Web";
type Clients = <S extends DescService>(service: S) => Client<S>;

function exposureOf(t: TestCase, role: EntityRole): string {
  const { exposure } = t.target.entities[role];
  if (exposure === undefined) throw new Inconclusive(`the target file does not say where: entities.${role}.exposure`);
  return exposure;
}

/** Clients of the exposure API under a certificate, on a connection of this purpose alone. */
function exposed(t: TestCase, role: EntityRole, credential: Credential, form: Form = "JSON"): Clients {
  const entity = { ...t.target.entities[role], endpoint: exposureOf(t, role) };
  const target = { ...t.target, entities: { ...t.target.entities, [role]: entity } };
  const channels = new Channels(target, credential, (options) =>
    connectTransport({
      ...options,
      ...(form === "JSON" ? { protocol: "connect", json: true } : { protocol: "grpc-web" }),
    }),
  );
  t.cleanUp(async () => channels.close());
  const recording = {
    log: t.log,
    from: identityIn(credential) ?? "a certificate that names nobody",
    to: role,
    signal: () => t.signal,
    timeoutMs: t.ixit.callTimeoutSeconds * 1000,
  };
  return (service) => createClient(service, recorded(channels.transport(role), recording));
}

function handshake(t: TestCase, role: EntityRole, credential?: Credential): Handshake {
  const { trustAnchorsPem } = t.target;
  const timeoutMs = t.ixit.callTimeoutSeconds * 1000;
  return byCertificate({ endpoint: exposureOf(t, role), timeoutMs, trustAnchorsPem, credential });
}

interface Exposed {
  readonly clause: string;
  readonly capability: string;
  /** Something that the user did through the gRPC port is seen through the exposure API. */
  readonly seen: (t: TestCase, clients: Clients) => Promise<void>;
  /** A method that users must not call. */
  readonly forbidden: { readonly method: string; readonly call: (t: TestCase, clients: Clients) => Promise<unknown> };
  /** A request with an id that is none, and the name of the field. */
  readonly malformed: {
    readonly method: string;
    readonly field: string;
    readonly call: (t: TestCase, clients: Clients, id: string) => Promise<unknown>;
    /** What a good id that nobody has is refused for. */
    readonly otherwise: ErrorReason;
  };
}

const exposures: Readonly<Record<EntityRole, Exposed>> = {
  dssm: {
    clause: "6.2.2",
    capability: "API1",
    async seen(t, clients) {
      const { identity, inSession } = await t.inSession(t.provider);
      const { account } = await clients(UserAccountService).getAccount({ identity }, inSession);
      expect(account?.identity === identity, "the account of the user, in the session that the gRPC port gave it");
    },
    forbidden: {
      method: "UserAuthenticationService/ValidateSession",
      call: (t, clients) =>
        clients(UserAuthenticationService).validateSession({
          session: t.provider.session,
          userCertificateSha256: t.provider.certificateSha256,
        }),
    },
    malformed: {
      method: "UserAuthenticationService/CompleteAuthentication",
      field: "challenge_id",
      call: (t, clients, challengeId) =>
        clients(UserAuthenticationService).completeAuthentication({
          challengeId,
          statement: statement(
            t,
            t.provider,
            create(BeginAuthenticationResponseSchema, { managementNonce: t.random(32) }),
          ),
        }),
      otherwise: ErrorReason.CHALLENGE_INVALID,
    },
  },
  kss: {
    clause: "6.2.3",
    capability: "API2",
    async seen(t, clients) {
      const { keyId } = await registeredKey(t, t.target.entities.dssm.identity);
      await clients(KeyStorageService).storeKey({ keyId, key: t.random(32) });
      const { state } = await keyStorage(t.provider).getKeyStatus({ keyId });
      expect(state === KeyState.STORED, "the key stored, as the gRPC port says");
    },
    forbidden: {
      method: "KeyStorageService/SetKeyUse",
      call: (t, clients) => clients(KeyStorageService).setKeyUse({ keyId: freshId(t), inUse: true }),
    },
    malformed: {
      method: "KeyStorageService/GetKeyStatus",
      field: "key_id",
      call: (_, clients, keyId) => clients(KeyStorageService).getKeyStatus({ keyId }),
      otherwise: ErrorReason.KEY_NOT_FOUND,
    },
  },
  dss: {
    clause: "6.2.4",
    capability: "API3",
    async seen(t, clients) {
      const requestId = t.random(16);
      const managementIdentity = t.target.entities.dssm.identity;
      const { packageId } = await clients(DataStorageService).registerPackage({ requestId, managementIdentity });
      t.cleanUp(() => dataStorage(t.provider).deletePackage({ packageId }));
      const again = await registeredPackage(t, { requestId });
      expect(again.packageId === packageId, "one registration, whichever port the request came through");
    },
    forbidden: {
      method: "DataStorageService/SetPackageUse",
      call: (t, clients) => clients(DataStorageService).setPackageUse({ packageId: freshId(t), inUse: true }),
    },
    malformed: {
      method: "DataStorageService/GetPackageStatus",
      field: "package_id",
      call: (_, clients, packageId) => clients(DataStorageService).getPackageStatus({ packageId }),
      otherwise: ErrorReason.PACKAGE_NOT_FOUND,
    },
  },
};

function exposurePurposesOf(role: EntityRole): readonly Purpose[] {
  const of = `TP/${role.toUpperCase() as Uppercase<EntityRole>}/API` as const;
  const { clause, capability, seen, forbidden, malformed } = exposures[role];
  const shared = {
    clause,
    capabilities: [capability],
    requires: ["EXPOSURE"],
    initialState: "the exposure port listens",
  } as const;
  return [
    ...(["JSON", "gRPC-Web"] as const).map((form) =>
      purpose({
        ...shared,
        id: `${of}/CA-0${form === "JSON" ? 4 : 5}`,
        title: `exposes its capabilities in ${form} to the users of its gRPC port`,
        stimulus: `at the exposure port, in ${form}, what goes on with something that was begun at the gRPC port`,
        expected: "the same state behind both ports",
        likelyMistake: "the port has services of its own beside those of the gRPC port",
        async run(t) {
          await seen(t, exposed(t, role, t.credential("provider"), form));
        },
      }),
    ),
    purpose({
      ...shared,
      id: `${of}/BI-41`,
      title: "lets nobody in at the exposure port whom the gRPC port would not let in",
      capabilities: [capability, "AAC1"],
      stimulus: `at the exposure port: ${faultyCertificates.map((one) => one.stimulus).join("; ")}`,
      expected: "a refusal in each handshake",
      twin: "a handshake with a good certificate at the exposure port",
      likelyMistake: "the port was made for browsers, and asks for no certificate or verifies less",
      async run(t) {
        const good = handshake(t, role, t.authority.forge(`urn:x1410:user:${t.freshName("user")}`));
        await t.positiveTwin("a good certificate gets through", () => expectEstablished(good));
        for (const { stimulus, credential } of faultyCertificates) {
          const wrong = handshake(t, role, credential(t));
          await expectRefused(wrong, good, anyRequestInJson(role), `a refusal in the handshake of ${stimulus}`);
        }
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-42`,
      title: "lets nobody in at the exposure port whose certificate has been revoked, once it knows",
      capabilities: [capability, "AAC1", "AAC3"],
      stimulus: "a good certificate; its revocation; handshakes until the list has been refreshed twice",
      expected: "a refusal in the handshake, within two refreshes of the revocation list",
      twin: "a handshake before the revocation",
      likelyMistake: "new revocation lists reach one of two listeners",
      async run(t) {
        const refresh = refreshTime(t);
        const credential = t.authority.issue("user", t.freshName("revoked"));
        const revoked = handshake(t, role, credential);
        await t.positiveTwin("before, it gets through", () => expectEstablished(revoked, "a connection"));
        t.authority.revoke(credential);
        const refused = await refusedWithin(refresh, revoked, anyRequestInJson(role));
        const seen = "each handshake until then got through";
        expect(refused, `a refusal within ${refresh / 1000} s`, seen);
        await expectEstablished(handshake(t, role, t.credential("provider")));
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-43`,
      title: `does not answer ${forbidden.method.split("/")[1]} to a user at the exposure port`,
      capabilities: [capability, "AAC3"],
      methods: [forbidden.method],
      stimulus: `${forbidden.method.split("/")[1]} by a user, in JSON`,
      expected: { reason: ErrorReason.CALLER_NOT_ALLOWED },
      twin: "a method for users, by the same user",
      likelyMistake: "access control was put in front of the gRPC port alone",
      async run(t) {
        const clients = exposed(t, role, t.credential("provider"));
        await t.positiveTwin("a method for users", () => seen(t, clients));
        await t.expectRefusal(() => forbidden.call(t, clients));
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-44`,
      title: `refuses ${malformed.method.split("/")[1]} at the exposure port where ${malformed.field} is no id, and names the field`,
      methods: [malformed.method],
      stimulus: `${malformed.field}: a path that leads elsewhere, in JSON`,
      expected: { reason: ErrorReason.REQUEST_INVALID },
      twin: "the same with an id that nobody has",
      likelyMistake:
        "the rules of the messages are checked behind the gRPC port alone, or the error loses its detail in JSON",
      async run(t) {
        const clients = exposed(t, role, t.credential("provider"));
        await t.positiveTwin("an id that nobody has", () =>
          expectRefusal(() => malformed.call(t, clients, freshId(t)), malformed.otherwise),
        );
        await expectInvalidField(t, () => malformed.call(t, clients, notIds.traversal), malformed.field);
      },
    }),
  ];
}

const sessions: Purpose = purpose({
  id: "TP/DSSM/API/BI-45",
  title: "answers nobody at the exposure port without a session, or with another user's",
  clause: "6.2.2",
  capabilities: ["API1", "AAU2"],
  requires: ["EXPOSURE"],
  methods: ["DataSharingPolicyService/ListPolicies"],
  initialState: "two users in session",
  stimulus: "ListPolicies in JSON without x1410-session; with the other user's",
  expected: { reason: ErrorReason.SESSION_INVALID },
  twin: "ListPolicies in JSON with the user's own session",
  likelyMistake: "the header of the session is looked at by the gRPC port alone",
  async run(t) {
    const user = await t.inSession(t.provider);
    const other = await t.inSession(t.secondProvider);
    const policies = exposed(t, "dssm", t.credential("provider"))(DataSharingPolicyService);
    await t.positiveTwin("the user's own session", () => policies.listPolicies({ pageSize: 1 }, user.inSession));
    await t.expectRefusal(() => policies.listPolicies({ pageSize: 1 }), ErrorReason.SESSION_REQUIRED);
    await t.expectRefusal(() => policies.listPolicies({ pageSize: 1 }, other.inSession));
  },
});

export const exposurePurposes: readonly Purpose[] = [...entityRoles.flatMap(exposurePurposesOf), sessions];
