// Attacks on the connection: who gets through the handshake of a running entity, and what a certificate is worth afterwards (clause
// 7.2.5, AAC1 to AAC4). A handshake is judged by a raw TLS probe, since a dead network looks like UNAVAILABLE as well.
import { once } from "node:events";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { create } from "@bufbuild/protobuf";
import { describe, expect, test, vi } from "vitest";
import { createPki } from "../../certs/pki.ts";
import { expectRefusal } from "../../conformance/refusal.ts";
import type { Credential, EntityRole } from "../../conformance/target.ts";
import { byCertificate, probeTls } from "../../conformance/tls-probe.ts";
import { AccessPermissionService } from "../../gen/x1410/v1/access_permission_pb.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { CreateTokenRequestSchema, TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { secureContextOptions } from "../communications/tls-credentials.ts";
import { type Door, doors, everyDoor, grantFor, rigForFile } from "./attack-rig.fixture.ts";

const rig = rigForFile({ revocationRefreshMs: 200 });

const day = 24 * 60 * 60_000;
const silent = () => {};

/** Outcome of a handshake with a role at a door. */
async function handshake(role: EntityRole, door: Door, credential?: Credential, maxVersion?: "TLSv1.2") {
  const endpoint = rig().endpoint(role, door);
  const { trustAnchorsPem, callTimeoutMs: timeoutMs } = rig().target;
  const options = { endpoint, timeoutMs, trustAnchorsPem, credential, ...(maxVersion && { maxVersion }) };
  return (await probeTls(byCertificate(options))).outcome;
}

describe.each(everyDoor)("the handshake of the %s, %s", (role, door) => {
  test("lets a user's certificate in, and nobody without one", async () => {
    expect(await handshake(role, door, rig().target.consumer)).toBe("established");
    expect(await handshake(role, door)).toBe("refused");
  });

  test("lets a forged certificate in only where nothing is wrong with it", async () => {
    expect(await handshake(role, door, rig().forge())).toBe("established");
    const faulty = {
      expired: rig().forge({ notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }),
      "not yet valid": rig().forge({ notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) }),
      "for servers only": rig().forge({ extendedKeyUsage: ["serverAuth"] }),
    };
    for (const [fault, credential] of Object.entries(faulty))
      expect([fault, await handshake(role, door, credential)]).toEqual([fault, "refused"]);
  });

  test("refuses a certificate of an authority of the same name", async () => {
    const rogue = createPki(join(rig().directory, "rogue"));
    const identity = "urn:x1410:user:consumer";
    const { chainPem, privateKeyPem } = rogue.issueIdentity({ role: "user", identity });
    expect(await handshake(role, door, { certificateChainPem: chainPem, privateKeyPem })).toBe("refused");
  });

  test("refuses what an authority signed that the path length forbids", async () => {
    const below = rig().forge({
      subject: { commonName: "one authority too many" },
      basicConstraints: { ca: true },
      keyUsage: ["keyCertSign", "cRLSign"],
      extendedKeyUsage: ["clientAuth"],
      subjectAltNames: [],
    });
    const leaf = rig().forge({
      issuer: { privateKey: below.privateKey, certificate: below.der },
      intermediates: below.certificateChainPem,
    });
    expect(await handshake(role, door, leaf)).toBe("refused");
  });

  test("refuses what another end entity signed", async () => {
    const above = rig().forge();
    const leaf = rig().forge({
      issuer: { privateKey: above.privateKey, certificate: above.der },
      intermediates: above.certificateChainPem,
    });
    expect(await handshake(role, door, leaf)).toBe("refused");
  });

  test("refuses TLS 1.2", async () => {
    expect(await handshake(role, door, rig().target.consumer, "TLSv1.2")).toBe("refused");
  });

  test("resumes no session: each connection is judged anew", async () => {
    const endpoint = rig().endpoint(role, door);
    const port = Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
    const open = (session?: Buffer) =>
      connect({
        ...(session && { session }),
        host: "127.0.0.1",
        port,
        ...secureContextOptions(rig().tlsCredentials(rig().target.consumer)),
        ALPNProtocols: ["h2"],
        checkServerIdentity: () => undefined,
      });
    const answered = (socket: TLSSocket) => new Promise((resolve) => socket.once("data", resolve));
    const first = open();
    const [session] = await Promise.all([once(first, "session"), answered(first)]);
    first.destroy();
    const second = open(session[0] as Buffer);
    await answered(second);
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });
});

describe.each(["ca", "ledger"] as const)("the handshake of the %s", (kind) => {
  test("lets a user in, and nobody without certificate", async () => {
    const { trustAnchorsPem, callTimeoutMs: timeoutMs, consumer } = rig().target;
    const probe = { endpoint: rig().endpoint(kind), timeoutMs, trustAnchorsPem };
    expect((await probeTls(byCertificate({ ...probe, credential: consumer }))).outcome).toBe("established");
    expect((await probeTls(byCertificate(probe))).outcome).toBe("refused");
  });
});

test("only the enrolment door takes a client without certificate, and then for the enrollee's methods alone", async () => {
  const door = rig().client(
    CertificationAuthorityService,
    "ca",
    { certificateChainPem: "", privateKeyPem: "" },
    "gRPC",
    rig().endpoint("ca", "exposure API"),
  );
  expect((await door.getRevocationLists({})).revocationLists.length).toBe(2);
  await expectRefusal(
    () => door.createEnrolment({ identity: "urn:x1410:user:mallory" }),
    ErrorReason.CERTIFICATE_REQUIRED,
  );
});

describe.each(doors)("an open connection, %s", (door) => {
  test("ends with its certificate's validity", async () => {
    const credential = rig().issue("user", "short-lived", 2_500);
    const client = rig().client(KeyStorageService, "kss", credential, door);
    const call = () =>
      client.registerKey({ requestId: new Uint8Array(16), managementIdentity: rig().identity("dssm") });
    await call();
    await vi.waitFor(() => expectRefusal(call, ErrorReason.CERTIFICATE_EXPIRED), { timeout: 10_000, interval: 100 });
    expect(await handshake("kss", door, credential)).toBe("refused");
  });

  test("ends with its certificate's revocation, at every entity that learns of it", async () => {
    const credential = rig().issue("user", "to-be-revoked");
    const keys = rig().client(KeyStorageService, "kss", credential, door);
    const packages = rig().client(DataStorageService, "dss", credential, door);
    const request = { requestId: new Uint8Array(16), managementIdentity: rig().identity("dssm") };
    await keys.registerKey(request);
    await packages.registerPackage(request);
    const authority = rig().client(CertificationAuthorityService, "ca", rig().credentialOf("operator"));
    await authority.revokeCertificate({ certificateSha256: Buffer.from(credential.fingerprint, "hex") });
    const refused = async () => {
      await expectRefusal(() => keys.registerKey(request), ErrorReason.CERTIFICATE_REVOKED);
      await expectRefusal(() => packages.registerPackage(request), ErrorReason.CERTIFICATE_REVOKED);
    };
    await vi.waitFor(refused, { timeout: 10_000, interval: 100 });
    expect(await handshake("kss", door, credential)).toBe("refused");
    expect(await handshake("kss", door, rig().target.consumer)).toBe("established");
  });
});

describe.each(doors)("who is nobody in particular, %s", (door) => {
  const consumer = { type: "uri", value: "urn:x1410:user:consumer" } as const;
  const names = {
    "no URI, the identity in the common name only": [],
    "two URIs": [consumer, { type: "uri", value: "urn:x1410:user:mallory" }],
    "a URI that is no identity": [{ type: "uri", value: "https://example.org/consumer" }],
    "an identity of another kind of name": [{ type: "dns", value: "urn.x1410.user.consumer" }],
  } as const;

  test.each(Object.entries(names))("%s", async (_, subjectAltNames) => {
    const begin = (credential: Credential) =>
      rig().client(UserAuthenticationService, "dssm", credential, door).beginAuthentication({});
    await begin(rig().forge({ subjectAltNames: [consumer] }));
    const nobody = rig().forge({ subject: { commonName: consumer.value }, subjectAltNames });
    await expectRefusal(() => begin(nobody), ErrorReason.IDENTITY_INVALID);
  });
});

describe.each(doors)("methods between components, %s", (door) => {
  const key = "c".repeat(32);
  const contractAddress = `x1410://dlt.local/contracts/${"d".repeat(32)}`;
  const order = () =>
    create(CreateTokenRequestSchema, {
      accessId: "e".repeat(32),
      contractAddress,
      consumerIdentity: "urn:x1410:user:consumer",
      consumerCertificateSha256: new Uint8Array(32),
      keyId: key,
      keyServerIdentity: rig().identity("kss"),
      packageId: "f".repeat(32),
    });
  const calls: Record<string, (credential: Credential) => Promise<unknown>> = {
    CreateToken: (credential) => rig().client(TokenService, "dssm", credential, door).createToken(order()),
    StoreAccessPermission: (credential) =>
      rig().client(AccessPermissionService, "dssm", credential, door).storeAccessPermission({ contractAddress }),
    CreateRequestedPermission: (credential) =>
      rig().client(AccessPermissionService, "dssm", credential, door).createRequestedPermission({ contractAddress }),
    PublishInformation: (credential) =>
      rig().client(InformationPublicationService, "dssm", credential, door).publishInformation({}),
    NotifyPublished: (credential) =>
      rig().client(InformationSubscriptionService, "dssm", credential, door).notifyPublished({}),
    SetKeyUse: (credential) => rig().client(KeyStorageService, "kss", credential, door).setKeyUse({ keyId: key }),
    SetPackageUse: (credential) =>
      rig().client(DataStorageService, "dss", credential, door).setPackageUse({ packageId: key }),
  };

  test.each(Object.keys(calls))("%s answers the management, and no user", async (method) => {
    const call = calls[method] as (credential: Credential) => Promise<unknown>;
    // The twin gets past access control, whatever then is wrong with these few fields.
    const twin = await call(rig().credentialOf("dssm")).then(
      () => ErrorReason.UNSPECIFIED,
      (cause: unknown) => reasonOf(cause),
    );
    expect(twin).not.toBe(ErrorReason.CALLER_NOT_ALLOWED);
    for (const credential of [rig().target.provider, rig().target.consumer, rig().credentialOf("operator")])
      await expectRefusal(() => call(credential), ErrorReason.CALLER_NOT_ALLOWED);
  });

  test("introspection answers the key storage server that the token is for, and nobody else", async () => {
    const { grant } = await grantFor(await rig().scene(door));
    const [, payload = ""] = grant.accessToken.split(".");
    const { jti } = JSON.parse(Buffer.from(payload, "base64url").toString()) as { jti: string };
    const ask = (credential: Credential) =>
      rig().client(TokenService, "dssm", credential, door).introspectToken({ tokenId: jti });
    expect((await ask(rig().credentialOf("kss"))).active).toBe(true);
    for (const credential of [rig().issue("kss", "other"), rig().target.consumer, rig().credentialOf("operator")])
      await expectRefusal(() => ask(credential), ErrorReason.CALLER_NOT_ALLOWED);
  });

  test("a provider's method wants the right to publish, a consumer's the right to access", async () => {
    const scene = await rig().scene(door);
    const { request } = await grantFor(scene);
    const reader = rig().provider(door, await rig().newcomer({ access: true }));
    const writer = rig().consumer(door, await rig().newcomer({ publish: true }));
    await reader.authenticate(silent);
    await writer.authenticate(silent);
    const key = await scene.provider.registerKey(silent);
    const stored = await scene.provider.registerPackage(silent);
    const information = scene.provider.information(key, stored);
    const permission = scene.provider.permission(key, stored, { accessTimes: 1, readOnly: true });
    const submission = scene.provider.sign(scene.provider.submission(information, permission));
    await expectRefusal(() => reader.submit(submission), ErrorReason.RIGHT_MISSING);
    await expectRefusal(() => writer.requestAccess(request), ErrorReason.RIGHT_MISSING);
    await scene.provider.submit(submission);
  });
});
