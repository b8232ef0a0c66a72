import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { directPeer } from "../communications/direct-binding.ts";
import { PolicyRig, refused } from "./policy-management.fixture.ts";

let rig: PolicyRig;

beforeAll(async () => {
  rig = await PolicyRig.open();
});
afterAll(() => rig.close());

const as = (identity: string) => rig.as({ peer: directPeer(identity) }, rig.components.accounts);
const operator = () => as("urn:x1410:entity:operator:main");
const userOf = (name: string) => `urn:x1410:user:${name}`;

describe("CreateAccount", () => {
  test("creates version 1, once: the same contents again get the account, others are refused", async () => {
    const account = { identity: userOf("anna"), displayName: "Anna", rights: { publish: true } };
    const { account: created } = await operator().createAccount({ account });
    expect(created).toMatchObject({ ...account, version: 1n });
    expect(created?.createdAt).toEqual(created?.updatedAt);
    rig.nowMs += 1000;
    const again = await operator().createAccount({ account: { ...account, version: 7n } });
    expect(again.account).toEqual(created);
    const other = { ...account, attributes: { country: "DE" } };
    await refused(ErrorReason.ACCOUNT_EXISTS, operator().createAccount({ account: other }));
  });

  test("ten at once with different contents: one wins", async () => {
    const attempts = Array.from({ length: 10 }, (_, index) =>
      operator().createAccount({ account: { identity: userOf("race"), displayName: `${index}` } }),
    );
    const results = await Promise.allSettled(attempts);
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("GetAccount", () => {
  test("answers an operator any, a user its own", async () => {
    const identity = userOf("berta");
    await operator().createAccount({ account: { identity } });
    expect((await operator().getAccount({ identity })).account?.identity).toBe(identity);
    expect((await as(identity).getAccount({ identity })).account?.identity).toBe(identity);
    await refused(ErrorReason.CALLER_NOT_ALLOWED, as(userOf("someone")).getAccount({ identity }));
    await refused(ErrorReason.CALLER_NOT_ALLOWED, as(userOf("someone")).getAccount({ identity: userOf("nobody") }));
    await refused(ErrorReason.ACCOUNT_NOT_FOUND, operator().getAccount({ identity: userOf("nobody") }));
  });
});

test("ListAccounts answers every account once, in the order of identities, page by page", async () => {
  for (const name of ["p3", "p1", "p2"]) await operator().createAccount({ account: { identity: userOf(name) } });
  const seen: string[] = [];
  let pageToken = "";
  do {
    const page = await operator().listAccounts({ pageSize: 2, pageToken });
    expect(page.accounts.length).toBeLessThanOrEqual(2);
    seen.push(...page.accounts.map(({ identity }) => identity));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(seen).toEqual([...new Set(seen)].sort());
  expect(seen).toEqual(expect.arrayContaining([userOf("p1"), userOf("p2"), userOf("p3")]));
});

describe("UpdateAccount", () => {
  test("replaces contents and counts versions; a stale version is refused", async () => {
    const identity = userOf("clara");
    const { account } = await operator().createAccount({ account: { identity, rights: { publish: true } } });
    rig.nowMs += 1000;
    const attributes = { country: "FR", industries: ["isic:j61"] };
    const change = { identity, attributes, version: 1n };
    const { account: changed } = await operator().updateAccount({ account: change });
    expect(changed).toMatchObject({ identity, version: 2n, createdAt: account?.createdAt, attributes });
    expect(changed?.rights?.publish).toBe(false);
    expect(changed?.updatedAt).not.toEqual(account?.updatedAt);
    await refused(ErrorReason.ACCOUNT_VERSION_STALE, operator().updateAccount({ account: change }));
    await refused(
      ErrorReason.ACCOUNT_NOT_FOUND,
      operator().updateAccount({ account: { ...change, identity: userOf("nobody") } }),
    );
  });

  test("of the same version ten times at once: one takes effect", async () => {
    const identity = userOf("race2");
    await operator().createAccount({ account: { identity } });
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) =>
        operator().updateAccount({ account: { identity, displayName: `${index}`, version: 1n } }),
      ),
    );
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await operator().getAccount({ identity })).account?.version).toBe(2n);
  });

  test("takes effect on the user's next request", async () => {
    const dora = await rig.user("dora");
    await rig.policy(dora).listPolicies({}, dora.inSession);
    await operator().updateAccount({ account: { identity: dora.identity, rights: { access: true }, version: 1n } });
    const submission = rig.submission(dora, rig.offer(dora));
    await refused(ErrorReason.RIGHT_MISSING, rig.policy(dora).submitPolicy({ submission }, dora.inSession));
  });
});

describe("DeleteAccount", () => {
  test("is idempotent, ends every session, and a new account revives none", async () => {
    const emil = await rig.user("emil");
    const { identity } = emil;
    await rig.policy(emil).listPolicies({}, emil.inSession);
    await operator().deleteAccount({ identity });
    await operator().deleteAccount({ identity });
    await refused(ErrorReason.SESSION_INVALID, rig.policy(emil).listPolicies({}, emil.inSession));
    await refused(ErrorReason.ACCOUNT_NOT_FOUND, operator().getAccount({ identity }));
    await operator().createAccount({ account: { identity } });
    await refused(ErrorReason.SESSION_INVALID, rig.policy(emil).listPolicies({}, emil.inSession));
  });

  test("is a user's own or an operator's doing; an account that never was is not found", async () => {
    const identity = userOf("fritz");
    await operator().createAccount({ account: { identity } });
    await refused(ErrorReason.CALLER_NOT_ALLOWED, as(userOf("someone")).deleteAccount({ identity }));
    await as(identity).deleteAccount({ identity });
    await refused(ErrorReason.ACCOUNT_NOT_FOUND, operator().deleteAccount({ identity: userOf("nobody") }));
  });

  test("survives a restart, as accounts do", async () => {
    const [gone, kept] = [userOf("gone"), userOf("kept")];
    for (const identity of [gone, kept]) await operator().createAccount({ account: { identity } });
    await operator().deleteAccount({ identity: gone });
    rig.restart();
    expect((await operator().getAccount({ identity: kept })).account?.version).toBe(1n);
    await refused(ErrorReason.ACCOUNT_NOT_FOUND, operator().getAccount({ identity: gone }));
    await operator().deleteAccount({ identity: gone });
  });
});
