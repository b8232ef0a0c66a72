import { describe, expect, test } from "vitest";
import type { Peer } from "../communications/peer.ts";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  alice,
  as,
  carol,
  clock,
  db,
  issuer,
  mallory,
  otherDssm,
  otherIssuer,
  random,
  redeem,
  register,
  replaceBatch,
  requireIntrospection,
  restart,
  serverForEachTest,
  stored,
} from "./key-storage-server.fixture.ts";

serverForEachTest();

describe("GetKey (F4.12.2 to F4.14)", () => {
  test("the token's key comes, and comes again for the same request, also after a restart", async () => {
    const { keyId, key } = await stored();
    const token = await issuer.issue({ keyId, consumer: carol });
    const requestId = random(16);
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
    await restart();
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
    expect(await refusalOf(redeem(token, keyId))).toBe("FAILED_PRECONDITION TOKEN_REDEEMED");
    clock.advance(6 * 60_000);
    expect(await refusalOf(redeem(token, keyId, requestId))).toBe("UNAUTHENTICATED TOKEN_EXPIRED");
  });

  test("of 100 redemptions at once exactly one gets the key", async () => {
    const { keyId } = await stored();
    const token = await issuer.issue({ keyId, consumer: carol });
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () =>
        redeem(token, keyId).then(
          () => "key",
          (cause: unknown) => refusalOf(Promise.reject(cause)),
        ),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === "key")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "FAILED_PRECONDITION TOKEN_REDEEMED")).toHaveLength(99);
  });

  test("token ids are an issuer's own: two issuers may draw the same one", async () => {
    const first = await stored();
    const { keyId } = await register({ managementIdentity: otherDssm.identity });
    await as(alice).storeKey({ keyId, key: random(32) });
    const jti = "7".repeat(32);
    await redeem(await issuer.issue({ keyId: first.keyId, consumer: carol }, { jti }), first.keyId);
    await redeem(await otherIssuer.issue({ keyId, consumer: carol }, { jti }), keyId);
  });

  test("no key leaves without its record on disk; the crash between record and answer costs nothing", async () => {
    const { keyId, key } = await stored();
    const token = await issuer.issue({ keyId, consumer: carol });
    const requestId = random(16);
    replaceBatch(() => Promise.reject(new Error("disk full")));
    expect(await refusalOf(redeem(token, keyId, requestId))).toBe("INTERNAL INTERNAL_FAULT");
    // Written, but the process dies before it can answer.
    replaceBatch(async (proceed) => {
      await proceed();
      throw new Error("killed");
    });
    expect(await refusalOf(redeem(token, keyId, requestId))).toBe("INTERNAL INTERNAL_FAULT");
    await restart();
    expect(await refusalOf(redeem(token, keyId))).toBe("FAILED_PRECONDITION TOKEN_REDEEMED");
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
  });

  test("records outlive their token and are then forgotten", async () => {
    const { keyId } = await stored();
    await redeem(await issuer.issue({ keyId, consumer: carol }), keyId);
    const records = () => db.sublevel("key-storage", {}).sublevel("redemptions", {}).keys().all();
    clock.advance(6 * 60_000);
    await restart();
    expect(await records()).toHaveLength(1);
    clock.advance(10 * 60_000);
    await restart();
    expect(await records()).toHaveLength(0);
  });

  test("no token, or a bad one, is refused for its own reason", async () => {
    const { keyId } = await stored();
    expect(await refusalOf(redeem("", keyId))).toBe("UNAUTHENTICATED TOKEN_MISSING");
    expect(await refusalOf(redeem("x.y.z", keyId))).toBe("UNAUTHENTICATED TOKEN_INVALID");
    const token = await issuer.issue({ keyId, consumer: carol });
    expect(await refusalOf(redeem(token, keyId, random(16), mallory))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
    const renamed = await issuer.issue({ keyId, consumer: carol }, { sub: mallory.identity });
    expect(await refusalOf(redeem(renamed, keyId))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
    await redeem(token, keyId);
  });

  test("a connection by pre-shared key redeems nothing", async () => {
    const { keyId } = await stored();
    const psk: Peer = { ...carol, fingerprint: "", certificate: undefined, transport: "psk" };
    const token = await issuer.issue({ keyId, consumer: carol }, { cnf: undefined });
    expect(await refusalOf(redeem(token, keyId, random(16), psk))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
  });

  test("a token for one key opens no other, whether or not there is one", async () => {
    const [one, two] = [await stored(), await stored()];
    const token = await issuer.issue({ keyId: one.keyId, consumer: carol });
    for (const keyId of [two.keyId, "0".repeat(32)]) {
      expect(await refusalOf(redeem(token, keyId))).toBe("PERMISSION_DENIED TOKEN_KEY_MISMATCH");
    }
    await redeem(token, one.keyId);
  });

  test("a trusted management that the owner did not name opens nothing", async () => {
    const { keyId } = await stored();
    const token = await otherIssuer.issue({ keyId, consumer: carol });
    expect(await refusalOf(redeem(token, keyId))).toBe("PERMISSION_DENIED TOKEN_ISSUER_NOT_NAMED");
  });

  test("a token for no key, or for none stored yet, is not spent", async () => {
    const absent = await issuer.issue({ keyId: "0".repeat(32), consumer: carol });
    expect(await refusalOf(redeem(absent, "0".repeat(32)))).toBe("NOT_FOUND KEY_NOT_FOUND");
    const { keyId } = await register();
    const token = await issuer.issue({ keyId, consumer: carol });
    expect(await refusalOf(redeem(token, keyId))).toBe("FAILED_PRECONDITION KEY_NOT_STORED");
    await as(alice).storeKey({ keyId, key: random(32) });
    await redeem(token, keyId);
  });

  test("with introspection required, a revoked token opens nothing and an unreachable management neither", async () => {
    requireIntrospection();
    await restart();
    const { keyId } = await stored();
    const jti = "9".repeat(32);
    const token = await issuer.issue({ keyId, consumer: carol }, { jti });
    issuer.revoked.add(jti);
    expect(await refusalOf(redeem(token, keyId))).toBe("UNAUTHENTICATED TOKEN_REVOKED");
    issuer.revoked.delete(jti);
    issuer.reachable = false;
    expect(await refusalOf(redeem(token, keyId))).toBe("UNAVAILABLE INTROSPECTION_UNAVAILABLE");
    issuer.reachable = true;
    await redeem(token, keyId);
  });
});
