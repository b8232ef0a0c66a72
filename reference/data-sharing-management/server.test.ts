// The whole management as one process composes it, over a real ledger, behind the guards of every hosting.
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { create, type DescService } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { Level } from "level";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IdentityMaterial } from "../../certs/pki.ts";
import { AccessPermissionService } from "../../gen/x1410/v1/access_permission_pb.ts";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { AccessRequestSchema, PolicyState, PolicySubmissionSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { InformationSubscriptionService } from "../../gen/x1410/v1/information_subscription_pb.ts";
import { NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import { SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import {
  UserAuthenticationService,
  UserAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import type { Peer } from "../communications/peer.ts";
import { type PkiFixture, pkiFixture } from "../communications/pki.fixture.ts";
import { standardGuards } from "../communications/server.ts";
import type { Registration } from "../communications/service.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import { createLedgerNode, type LedgerNode } from "../ledger/server.ts";
import { hexId, refused } from "./policy-management.fixture.ts";
import { MANAGEMENT, MemoryStorage } from "./policy-peers.fixture.ts";
import { createDataSharingManagement, type DataSharingManagement } from "./server.ts";

let pki: PkiFixture;
let node: LedgerNode;
let ledgerDb: Level<string, string>;
let db: Level<string, string>;
let signer: Signer;
let management: DataSharingManagement;
let guards: ReturnType<typeof standardGuards>;
const storage = new MemoryStorage();
const parameters = create(NetworkParametersSchema, { networkId: "test.net", quorum: 1 });
const now = () => new Date();

/** The management as a new process composes it. */
async function compose(): Promise<void> {
  management = await createDataSharingManagement({
    db,
    dataDirectory: pki.directory,
    signer,
    trust: pki.pki.verifier(),
    engine: node.engine,
    storage,
    network: { entity: (identity) => create(EntitySchema, { identity }), parameters: () => parameters },
    now,
  });
  guards = standardGuards({ registrations: management.registrations });
  await management.start();
}

beforeAll(async () => {
  pki = pkiFixture();
  signer = signerOf(pki.issue("dssm", "one"));
  const ledger = signerOf(pki.issue("ledger", "one"));
  ledgerDb = new Level(join(pki.directory, "ledger"));
  db = new Level(join(pki.directory, "management"));
  await Promise.all([ledgerDb.open(), db.open()]);
  node = await createLedgerNode({
    db: ledgerDb,
    signer: ledger,
    trust: pki.pki.verifier(),
    networkId: "test.net",
    proposer: ledger.identity,
    peers: [],
    quorum: 1,
    now,
    parameters: () => parameters,
  });
  await node.start();
  await compose();
});
afterAll(async () => {
  await management.close();
  await node.close();
  await Promise.all([ledgerDb.close(), db.close()]);
  pki.remove();
});

function signerOf({ privateKeyPem, chainPem }: IdentityMaterial): Signer {
  return createSigner({ privateKeyPem, certificateChainPem: chainPem });
}

function as<S extends DescService>(peer: Peer, service: S): Client<S> {
  const registration = management.registrations.find((one) => one.service.typeName === service.typeName);
  if (registration === undefined) throw new TypeError(`${service.typeName} is not registered`);
  return bindDirect(registration as Registration<S>, { peer, guards });
}

async function userOf(name: string, rights: { publish?: boolean; access?: boolean }) {
  const material = pki.issue("user", name);
  const { identity, fingerprint } = material;
  const own = signerOf(material);
  const operator = directPeer("urn:x1410:entity:operator:main");
  await as(operator, UserAccountService).createAccount({ account: { identity, rights } });
  const peer: Peer = { ...directPeer(identity), fingerprint, connectionId: name };
  const authentication = as(peer, UserAuthenticationService);
  const { challengeId, managementNonce, managementIdentity } = await authentication.beginAuthentication({});
  const statement = create(UserAuthenticationStatementSchema, {
    userNonce: randomBytes(32),
    managementNonce,
    managementIdentity,
    userIdentity: identity,
    userCertificateSha256: Buffer.from(fingerprint, "hex"),
  });
  const { session } = await authentication.completeAuthentication({
    challengeId,
    statement: signMessage(own, UserAuthenticationStatementSchema, statement),
  });
  return { identity, signer: own, peer, inSession: { headers: { "x1410-session": session } } };
}

test("carries a policy from its submission to a consumer's access, also over a restart", async () => {
  const provider = await userOf("provider", { publish: true });
  const consumer = await userOf("consumer", { access: true });
  const [policyId, keyId, packageId] = [hexId(), hexId(), hexId()];
  const sha256 = createHash("sha256").update(packageId).digest();
  for (const id of [keyId, packageId]) {
    const object = { owner: provider.identity, management: MANAGEMENT, stored: true, inUse: false };
    storage.objects.set(id, { ...object, size: 100n, sha256 });
  }
  const places = {
    keyId,
    keyAddress: `x1410://kss.one/keys/${keyId}`,
    packageId,
    packageAddress: `x1410://dss.one/packages/${packageId}`,
  };
  const submission = create(PolicySubmissionSchema, {
    context: newContext(provider.signer, MANAGEMENT, new Date()),
    information: {
      providerIdentity: provider.identity,
      providerPublicKey: provider.signer.publicKey,
      attributes: { category: "records" },
      ...places,
    },
    policy: { policyId, version: 1n, managementIdentity: MANAGEMENT },
    accessPermission: { accessTimes: 1, expiration: timestampFromMs(Date.now() + 60_000), ...places },
  });
  const { policy } = await as(provider.peer, DataSharingPolicyService).submitPolicy(
    { submission: signMessage(provider.signer, PolicySubmissionSchema, submission) },
    provider.inSession,
  );
  expect(policy?.state).toBe(PolicyState.PUBLISHED);

  await management.close();
  await compose();

  const { information } = await as(consumer.peer, InformationPublicationService).searchInformation(
    { filter: { category: "records" } },
    consumer.inSession,
  );
  expect(information.map(({ contractAddress }) => contractAddress)).toEqual([policy?.contractAddress]);
  const request = create(AccessRequestSchema, {
    context: newContext(consumer.signer, MANAGEMENT, new Date()),
    consumer: { identity: consumer.identity, publicKey: consumer.signer.publicKey },
    sharedData: {
      providerIdentity: provider.identity,
      providerPublicKey: provider.signer.publicKey,
      packageId,
      keyId,
    },
    contractAddress: policy?.contractAddress ?? "",
  });
  const answer = await as(consumer.peer, DataSharingAccessService).requestAccess(
    { request: signMessage(consumer.signer, AccessRequestSchema, request) },
    consumer.inSession,
  );
  expect(answer.accessToken.split(".")).toHaveLength(3);
  expect(answer.record?.accessNumber).toBe(1);
  expect(answer.requestedPermission).toBeDefined();
});

test("answers network parameters to whoever belongs to the network", async () => {
  const kss = directPeer("urn:x1410:entity:kss:one");
  const { parameters: told } = await as(kss, SystemManagementService).getNetworkParameters({});
  expect(told?.networkId).toBe("test.net");
});

describe("methods between components", () => {
  const user = directPeer("urn:x1410:user:mallory");
  test.each([
    ["PublishInformation", () => as(user, InformationPublicationService).publishInformation({})],
    ["NotifyPublished", () => as(user, InformationSubscriptionService).notifyPublished({})],
    ["StoreAccessPermission", () => as(user, AccessPermissionService).storeAccessPermission({})],
    ["CreateRequestedPermission", () => as(user, AccessPermissionService).createRequestedPermission({})],
    ["CreateToken", () => as(user, TokenService).createToken({})],
    ["ValidateSession", () => as(user, UserAuthenticationService).validateSession({})],
    ["CreateAccount", () => as(user, UserAccountService).createAccount({})],
  ])("answer no user: %s", async (_name, call) => {
    await refused(ErrorReason.CALLER_NOT_ALLOWED, call());
  });

  test("answer the management's own components", async () => {
    const own = as(directPeer(MANAGEMENT), UserAuthenticationService);
    const userCertificateSha256 = new Uint8Array(32);
    await refused(ErrorReason.SESSION_INVALID, own.validateSession({ session: "made-up", userCertificateSha256 }));
  });
});
