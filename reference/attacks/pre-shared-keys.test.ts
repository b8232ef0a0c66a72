// Users by pre-shared key on the running stack (AAC1, clause 7.2.5): what they may do as any user, and what only a certificate opens.
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { expectRefusal } from "../../conformance/refusal.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { pskTransport } from "../communications/psk-transport.ts";
import { grantFor, rigForFile } from "./attack-rig.fixture.ts";
import { entityRoles, PreSharedKeyDoors } from "./pre-shared-key-door.fixture.ts";

const psk = new PreSharedKeyDoors();
const rig = rigForFile({ launch: psk.launch });
const silent = () => {};

/** Shared and found through the ports for pre-shared keys alone. */
async function scene() {
  const [provider, consumer] = [psk.provider(rig()), psk.consumer(rig())];
  const shared = await provider.share(Buffer.from("msisdn,traffic\n"), { accessTimes: 5, readOnly: true }, []);
  await consumer.authenticate(silent);
  return { provider, consumer, shared };
}

test("a provider shares as in Figure 3, and a consumer gets as far as the token and the package", async () => {
  const { consumer, shared } = await scene();
  const { grant } = await grantFor({ provider: psk.provider(rig()), consumer, shared });
  expect(grant.accessToken).not.toBe("");
  expect((await consumer.getPackage(shared.stored.id, silent)).length).toBeGreaterThan(0);
});

test("tokens are not redeemable here; the certificate that signed the request redeems them at its own port", async () => {
  const { consumer, shared } = await scene();
  const { grant } = await grantFor({ provider: psk.provider(rig()), consumer, shared });
  const request = { accessToken: grant.accessToken, keyId: shared.key.id, requestId: randomBytes(16) };
  await expectRefusal(
    () => consumer.client(KeyStorageService, "kss").getKey(request),
    ErrorReason.TOKEN_BINDING_MISMATCH,
  );
  const { key } = await rig().client(KeyStorageService, "kss", rig().target.consumer).getKey(request);
  expect(Buffer.from(key)).toEqual(Buffer.from(shared.secret));
});

describe("what is signed", () => {
  test("by another than the key's identity is refused, and no session comes of it", async () => {
    const mallory = await rig().newcomer();
    const provider = psk.provider(rig(), mallory);
    await expectRefusal(() => provider.authenticate(silent), ErrorReason.SIGNER_NOT_CALLER);
    await psk.provider(rig()).authenticate(silent);
  });

  test("sessions of this port work on no other, and the other way round", async () => {
    const [here, there] = [psk.provider(rig()), rig().provider()];
    await here.authenticate(silent);
    await there.authenticate(silent);
    const policies = (user: typeof here) =>
      user.client(DataSharingPolicyService, "dssm").listPolicies({}, user.inSession);
    await policies(here);
    await policies(there);
    [here.session, there.session] = [there.session, here.session];
    await expectRefusal(() => policies(here), ErrorReason.SESSION_INVALID);
    await expectRefusal(() => policies(there), ErrorReason.SESSION_INVALID);
  });
});

test("methods between components answer no user of a key", async () => {
  const consumer = psk.consumer(rig());
  await expectRefusal(
    () => consumer.client(TokenService, "dssm").introspectToken({ tokenId: "0".repeat(32) }),
    ErrorReason.CALLER_NOT_ALLOWED,
  );
});

test("a key for one server opens no other", async () => {
  for (const role of entityRoles) {
    for (const other of entityRoles.filter((each) => each !== role)) {
      const entity = rig().target.entities[other].identity;
      const preSharedKey = psk.keyOf("urn:x1410:user:provider", rig().target.entities[role].identity);
      const address = psk.endpoint(entity);
      const transport = rig().keep(pskTransport({ address, serverIdentity: entity, preSharedKey, trust: rig().trust }));
      const call = createClient(KeyStorageService, transport).getKeyStatus({ keyId: "0".repeat(32) });
      await expect(call).rejects.toThrow(/unavailable/);
    }
  }
});

test("a key taken out of the file ends its connections, while the server runs", async () => {
  const kss = rig().identity("kss");
  const user = psk.provider(rig());
  const status = () => user.client(KeyStorageService, "kss").getKeyStatus({ keyId: "0".repeat(32) });
  await expectRefusal(status, ErrorReason.KEY_NOT_FOUND);
  const kept = psk.keyOf("urn:x1410:user:consumer", kss);
  const replaced = () => rig().logged.filter(({ event }) => event === "pre-shared keys replaced").length;
  const before = replaced();
  writeFileSync(
    psk.keyPath(kss),
    JSON.stringify([{ identity: kept.identity, key: Buffer.from(kept.key).toString("base64") }]),
  );
  await expect.poll(replaced).toBe(before + 1);
  await expect(status()).rejects.toThrow(/unavailable/);
  await expectRefusal(
    () =>
      psk
        .consumer(rig())
        .client(KeyStorageService, "kss")
        .getKeyStatus({ keyId: "0".repeat(32) }),
    ErrorReason.KEY_NOT_FOUND,
  );
});
