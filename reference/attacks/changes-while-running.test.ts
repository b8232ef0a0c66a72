// What an operator changes while the stack runs (clause 7.2.5): revocations, access lists and certificates take effect on open, resumed and
// new connections alike, without a restart.
import { createHash, randomBytes, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { expectRefusal } from "../../conformance/refusal.ts";
import type { Credential } from "../../conformance/target.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import {
  AccessRequestSchema,
  ConsumerInformationSchema,
  PolicySubmissionSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataStorageService, PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { ServerAuthenticationService } from "../../gen/x1410/v1/server_authentication_pb.ts";
import { secureContextOptions } from "../communications/tls-credentials.ts";
import { signMessage } from "../envelope/sign.ts";
import { createSigner } from "../envelope/signer.ts";
import type { launchAltered } from "../stack/one-process.ts";
import type { Launch, Launcher } from "../stack/stack.ts";
import type { StartedEntity } from "../stack/start-entity.ts";
import { type AttackRig, doors, everyDoor, rigForFile } from "./attack-rig.fixture.ts";
import { draftOf, informationOf } from "./policy-draft.fixture.ts";
import { PreSharedKeyDoors } from "./pre-shared-key-door.fixture.ts";

const psk = new PreSharedKeyDoors();
const launches = new Map<string, Launch>();
const started = new Map<string, StartedEntity>();

const launch: Launcher = async (given) => {
  launches.set(given.plan.name, given);
  const entity = await psk.launch(given);
  started.set(given.plan.name, entity as Awaited<ReturnType<typeof launchAltered>>);
  return entity;
};
const rig = rigForFile({ launch });

const keyId = "0".repeat(32);
const callers = ["dssm", "kss", "dss"] as const;

async function refreshAll(): Promise<void> {
  for (const entity of started.values()) await entity.refreshRevocationLists();
}

const statusOf = (rig: AttackRig, credential: Credential, door: (typeof doors)[number] = "gRPC") => {
  const client = rig.client(KeyStorageService, "kss", credential, door);
  return () => client.getKeyStatus({ keyId });
};

/** One handshake with an entity; "open" once the server has answered on HTTP/2. */
function handshake(endpoint: string, options: ConnectionOptions) {
  return new Promise<{ outcome: string; socket: TLSSocket; serial: string; session: Buffer | undefined }>((resolve) => {
    const [host = "", port] = endpoint.split(":");
    const socket = connect({
      ...options,
      host,
      port: Number(port),
      ALPNProtocols: ["h2"],
      checkServerIdentity: () => undefined,
    });
    const end = (outcome: string) => {
      const serial = socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? "";
      resolve({ outcome, socket, serial, session: socket.getSession() });
      socket.destroy();
    };
    socket.once("secureConnect", () => socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1"));
    socket.once("data", () => end("open"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once("close", () => end("closed"));
  });
}

describe("a certificate that is revoked at the authority", () => {
  test("is refused at every door of every entity: open connections, resumed and new ones", async () => {
    const user = await rig().newcomer();
    const open = doors.map((door) => statusOf(rig(), user, door));
    for (const call of open) await expectRefusal(call, ErrorReason.KEY_NOT_FOUND);
    const options = secureContextOptions(rig().tlsCredentials(user));
    const sessions = new Map<string, Buffer | undefined>();
    for (const [kind, door] of everyDoor) {
      const { outcome, session } = await handshake(rig().endpoint(kind, door), options);
      expect([kind, door, outcome]).toEqual([kind, door, "open"]);
      sessions.set(`${kind} ${door}`, session);
    }

    const certificateSha256 = createHash("sha256").update(new X509Certificate(user.certificateChainPem).raw).digest();
    const authority = rig().client(CertificationAuthorityService, "ca", rig().credentialOf("operator"));
    await authority.revokeCertificate({ certificateSha256 });
    // Nobody has looked yet: the lists of before hold until entities fetch the new ones.
    for (const call of open) await expectRefusal(call, ErrorReason.KEY_NOT_FOUND);
    await refreshAll();

    for (const call of open) await expectRefusal(call, ErrorReason.CERTIFICATE_REVOKED);
    for (const [kind, door] of everyDoor) {
      const endpoint = rig().endpoint(kind, door);
      expect((await handshake(endpoint, options)).outcome).not.toBe("open");
      const session = sessions.get(`${kind} ${door}`);
      expect(session).toBeInstanceOf(Buffer);
      expect((await handshake(endpoint, { ...options, ...(session && { session }) })).outcome).not.toBe("open");
    }
    await expectRefusal(statusOf(rig(), rig().target.provider), ErrorReason.KEY_NOT_FOUND);
  });
});

describe.each(doors)("what is signed under a certificate that is revoked, %s", (door) => {
  test("is refused from then on, on open connections that stand; what is signed under theirs is taken", async () => {
    const { provider, consumer, shared } = await rig().scene(door);
    const found = consumer.checkPublication(await consumer.lookUp(shared.contractAddress));
    const named = ({ identity }: { identity: string }) => rig().issue("user", identity.replace("urn:x1410:user:", ""));
    // Another certificate of the same user, for signing alone.
    const [providers, consumers] = [named(provider), named(consumer)];
    const policy = async (credential?: Credential) => {
      const { submission } = await draftOf(provider);
      const signer = credential === undefined ? provider.signer : createSigner(credential);
      informationOf(submission).providerPublicKey = signer.publicKey;
      return provider.submit(signMessage(signer, PolicySubmissionSchema, submission));
    };
    const access = async (credential?: Credential) => {
      const request = consumer.accessRequest(found);
      const signer = credential === undefined ? consumer.signer : createSigner(credential);
      request.consumer = create(ConsumerInformationSchema, {
        identity: consumer.identity,
        publicKey: signer.publicKey,
      });
      return consumer.requestAccess(signMessage(signer, AccessRequestSchema, request));
    };
    await policy(providers);
    await access(consumers);
    for (const { serialNumber } of [providers, consumers]) rig().pki.intermediate.revoke(serialNumber);
    await refreshAll();
    await expectRefusal(() => policy(providers), ErrorReason.SIGNER_UNTRUSTED);
    await expectRefusal(() => access(consumers), ErrorReason.SIGNER_UNTRUSTED);
    await policy();
    await access();
  });
});

describe.each(doors)("calls under way, %s", (door) => {
  test("a subscription and an upload end with the certificate's revocation; nothing is stored, others go on", async () => {
    await rig().scene();
    const user = await rig().newcomer();
    const [subscriber, neighbour] = [rig().consumer(door, user), rig().consumer(door)];
    const news = async (who: typeof subscriber) => {
      await who.authenticate(() => {});
      const { inSession } = who;
      const stream = who.client(InformationSubscriptionService, "dssm").subscribe({ afterPosition: 0n }, inSession);
      const messages = stream[Symbol.asyncIterator]();
      expect((await messages.next()).done).toBe(false);
      /** Reads on until the news of that contract. */
      return async (contractAddress?: string) => {
        for (;;) {
          const { done, value } = await messages.next();
          if (done === true) return "ended";
          if (value.information?.contractAddress === contractAddress) return "told";
        }
      };
    };
    const [mine, theirs] = [await news(subscriber), await news(neighbour)];
    const bytes = randomBytes(2 << 20);
    const upload = (credential: Credential) => {
      const packages = rig().client(DataStorageService, "dss", credential, door);
      const finish = Promise.withResolvers<void>();
      const parts = async function* (packageId: string) {
        const sha256 = createHash("sha256").update(bytes).digest();
        yield { part: { case: "open" as const, value: { packageId, size: BigInt(bytes.length), sha256 } } };
        yield { part: { case: "data" as const, value: bytes.subarray(0, 1 << 20) } };
        await finish.promise;
        yield { part: { case: "data" as const, value: bytes.subarray(1 << 20) } };
      };
      const begin = async () => {
        const request = { requestId: randomBytes(16), managementIdentity: rig().identity("dssm") };
        const { packageId } = await packages.registerPackage(request);
        const ended = packages.storePackage(parts(packageId));
        ended.catch(() => undefined);
        await expect.poll(async () => (await packages.getPackageStatus({ packageId })).size).toBe(BigInt(bytes.length));
        return { packageId, ended };
      };
      return { begin, finish: finish.resolve };
    };
    const [broken, whole] = [upload(user), upload(rig().target.provider)];
    const [{ packageId, ended }, other] = [await broken.begin(), await whole.begin()];

    rig().pki.intermediate.revoke(user.serialNumber);
    await refreshAll();
    await expectRefusal(() => mine(), ErrorReason.CERTIFICATE_REVOKED);
    await expectRefusal(() => ended, ErrorReason.CERTIFICATE_REVOKED);
    const renewed = rig().issue("user", user.identity.replace("urn:x1410:user:", ""));
    const owner = rig().client(DataStorageService, "dss", renewed, door);
    // As much as had arrived may be resumed.
    const { state } = await owner.getPackageStatus({ packageId });
    expect([PackageState.REGISTERED, PackageState.PARTIAL]).toContain(state);

    whole.finish();
    expect((await other.ended).size).toBe(BigInt(bytes.length));
    const { shared } = await rig().scene();
    expect(await theirs(shared.contractAddress)).toBe("told");
  });
});

describe("access lists in access.yaml", () => {
  const path = () => launches.get("kss")?.accessFile ?? "";
  const lines = (event: string) => rig().logged.filter((line) => line.event === event).length;
  /** Every entity reads the file for itself. */
  const write = async (text: string, event = "access lists replaced") => {
    const before = lines(event);
    writeFileSync(path(), text);
    await expect.poll(() => lines(event), { timeout: 5000 }).toBe(before + started.size);
  };

  test("hold on open connections through every door, and a malformed file changes nothing", async () => {
    const user = await rig().newcomer();
    const { identity } = user;
    const through = doors.map((door) => statusOf(rig(), user, door));
    const all = async (reason: ErrorReason) => {
      for (const call of through) await expectRefusal(call, reason);
    };
    await all(ErrorReason.KEY_NOT_FOUND);
    await write(`deny: ["${identity}"]`);
    await all(ErrorReason.DENY_LISTED);
    const former = "configuration not taken over, the former one holds";
    await write("deny: [nobody", former);
    await all(ErrorReason.DENY_LISTED);
    // Meant for one entity, and for none of them half a file: the list of before is lifted nowhere.
    await write("entities: {kss: {methods: {x1410.v1.KeyStorageService/GetKye: []}}}", former);
    await all(ErrorReason.DENY_LISTED);
    const packages = rig().client(DataStorageService, "dss", user);
    await expectRefusal(() => packages.getPackageStatus({ packageId: keyId }), ErrorReason.DENY_LISTED);
    for (const name of started.keys())
      expect(rig().logged.some(({ event, fields }) => event === former && fields?.["entity"] === name)).toBe(true);
    await refreshAll();
    await all(ErrorReason.DENY_LISTED);
    await write(`entities: {dss: {deny: ["${identity}"]}}`);
    await all(ErrorReason.KEY_NOT_FOUND);
    await write("entities: {kss: {methods: {x1410.v1.KeyStorageService/GetKeyStatus: ['urn:x1410:entity:dssm:*']}}}");
    await all(ErrorReason.CALLER_NOT_ALLOWED);
    await write("allow: ['urn:x1410:entity:*', 'urn:x1410:user:provider']");
    await all(ErrorReason.NOT_ALLOW_LISTED);
    await expectRefusal(statusOf(rig(), rig().target.provider), ErrorReason.KEY_NOT_FOUND);
    const byKey = psk.consumer(rig()).client(KeyStorageService, "kss");
    await expectRefusal(() => byKey.getKeyStatus({ keyId }), ErrorReason.NOT_ALLOW_LISTED);
    await write("");
    await all(ErrorReason.KEY_NOT_FOUND);
  });
});

describe("a renewed certificate", () => {
  test.each(callers)("of the %s is shown and signs from then on; open connections go on", async (kind) => {
    const files = launches.get(kind)?.files;
    if (files === undefined) throw new Error("not launched");
    const options = secureContextOptions(rig().tlsCredentials(rig().target.provider));
    const open = rig().client(CertificationAuthorityService, "ca", rig().target.provider);
    const before = await handshake(rig().endpoint(kind), options);
    const identity = rig().identity(kind);
    const [former, renewed] = [
      new X509Certificate(readFileSync(files.chain)),
      rig().pki.issueIdentity({ role: kind, identity }),
    ];
    expect(before.serial).toBe(former.serialNumber.toLowerCase());

    const event = "configuration not taken over, the former one holds";
    const failures = rig().logged.filter((line) => line.event === event).length;
    // Half of it, as long as the key is the former one, is not taken over.
    writeFileSync(files.chain, renewed.chainPem);
    await expect.poll(() => rig().logged.filter((line) => line.event === event).length).toBe(failures + 1);
    expect((await handshake(rig().endpoint(kind), options)).serial).toBe(before.serial);
    writeFileSync(files.privateKey, renewed.privateKeyPem);
    writeFileSync(files.certificate, renewed.certificatePem);
    writeFileSync(files.chain, `${renewed.chainPem}\n`);
    await expect
      .poll(() =>
        rig().logged.some(({ event, fields }) => event === "certificate renewed" && fields?.["entity"] === identity),
      )
      .toBe(true);

    for (const door of doors) {
      const { outcome, serial } = await handshake(rig().endpoint(kind, door), options);
      expect([outcome, serial]).toEqual(["open", renewed.serialNumber]);
    }
    await open.getRevocationLists({});
    const transport = rig().keep(psk.opener(rig(), "urn:x1410:user:provider")({ serverIdentity: identity }));
    const proof = await createClient(ServerAuthenticationService, transport).proveIdentity({
      userNonce: new Uint8Array(32),
    });
    const [leaf] = proof.statement?.signatures[0]?.certificate?.certificates ?? [];
    expect(new X509Certificate(leaf ?? "").serialNumber.toLowerCase()).toBe(renewed.serialNumber);
  });

  test("keeps everything going: data is shared and accessed as before", async () => {
    const { shared } = await rig().scene();
    expect(shared.contractAddress).toContain("x1410://");
  });

  test("of an entity comes by itself where the stack finds that the present one was revoked", async () => {
    const files = launches.get("dss")?.files;
    const { serialNumber } = new X509Certificate(readFileSync(files?.certificate ?? ""));
    rig().pki.intermediate.revoke(serialNumber);
    const renewals = () =>
      rig().logged.filter(
        ({ event, fields }) => event === "certificate renewed" && fields?.["entity"] === rig().identity("dss"),
      ).length;
    const before = renewals();
    rig().stack.renewCertificates();
    await expect.poll(renewals).toBe(before + 1);
    const options = secureContextOptions(rig().tlsCredentials(rig().target.provider));
    const { outcome, serial } = await handshake(rig().endpoint("dss"), options);
    expect(outcome).toBe("open");
    expect(serial).not.toBe(serialNumber.toLowerCase());
    const told = rig().network.entity(rig().identity("dss"))?.certificate?.certificates[0];
    expect(new X509Certificate(told ?? "").serialNumber.toLowerCase()).toBe(serial);
  });
});
