// A key stored for the tester's management, and what is redeemed for it: the state from which token verification is tested.
import type { Client } from "@connectrpc/connect";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import type { TokenOrder } from "../harness/tester-management.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";

export interface StoredKey {
  readonly keyId: string;
  readonly keyAddress: string;
  readonly secret: Uint8Array;
}

export function keyStorage(user: User): Client<typeof KeyStorageService> {
  return user.client(KeyStorageService, "kss");
}

/** Registers a key, by default for the tester's management. It is deleted afterwards. */
export async function registeredKey(
  t: TestCase,
  management = t.management.identity,
): Promise<Omit<StoredKey, "secret">> {
  const { keyId, keyAddress } = await keyStorage(t.provider).registerKey({
    requestId: t.random(16),
    managementIdentity: management,
  });
  t.cleanUp(() => keyStorage(t.provider).deleteKey({ keyId }));
  return { keyId, keyAddress };
}

/** Registers and stores a key, by default for the tester's management. It is deleted afterwards. */
export async function storedKey(t: TestCase, management = t.management.identity): Promise<StoredKey> {
  const registered = await registeredKey(t, management);
  const secret = t.random(32);
  await keyStorage(t.provider).storeKey({ keyId: registered.keyId, key: secret });
  return { ...registered, secret };
}

/** A good token for this key, bound to the consumer's certificate, for the key storage server under test. */
export function orderFor(t: TestCase, { keyId }: { readonly keyId: string }, consumer: User = t.consumer): TokenOrder {
  return { keyId, keyServer: t.target.entities.kss.identity, consumer };
}

/** F4.12.2: the token for the key, under a request id of its own. */
export async function redeem(
  t: TestCase,
  accessToken: string,
  { keyId }: { readonly keyId: string },
  consumer: User = t.consumer,
  requestId = t.random(16),
): Promise<Uint8Array> {
  const { key } = await keyStorage(consumer).getKey({ accessToken, keyId, requestId });
  return key;
}
