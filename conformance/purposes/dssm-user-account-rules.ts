// User account management (UAM, clause 6.2.2): lists, versions, repetitions, and who may do what.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRefusal } from "../refusal.ts";
import { DataConsumer } from "../roles/data-consumer.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { atOnce } from "./at-once.ts";
import { type MalformedField, malformedField } from "./malformed-field.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";
import { wrongCaller } from "./wrong-caller.ts";

const accounts = (user: User) => user.client(UserAccountService, "dssm");
const common = { clause: "6.2.2", capabilities: ["UAM1"], initialState: "an operator with a certificate" } as const;

const fresh = (t: TestCase) => ({
  identity: `urn:x1410:user:${t.freshName("account")}`,
  displayName: "Conformance kit",
  rights: { publish: true, access: false },
  attributes: { industries: ["isic:j61"], country: "CH", organization: "Conformance test" },
});

/** An account of nobody in particular. It is deleted afterwards. */
async function createdAccount(t: TestCase, account = fresh(t)) {
  const { account: created } = await accounts(t.as("operator")).createAccount({ account });
  t.cleanUp(() => accounts(t.as("operator")).deleteAccount({ identity: account.identity }));
  if (created === undefined) throw new Error("the management answered no account");
  return created;
}

const malformed: readonly MalformedField[] = (
  [
    ["TP/DSSM/UAM/BI-02", "account.identity", "the identity of an entity", { identity: "urn:x1410:entity:kss:x" }],
    ["TP/DSSM/UAM/BI-03", "account.identity", "upper-case letters", { identity: "urn:x1410:user:ALICE" }],
    ["TP/DSSM/UAM/BI-04", "account.attributes.country", "a country's name", { attributes: { country: "Switzerland" } }],
    [
      "TP/DSSM/UAM/BI-05",
      "account.attributes.industries[0]",
      "an industry with a blank",
      { attributes: { industries: ["isic j61"] } },
    ],
    ["TP/DSSM/UAM/BI-06", "account.display_name", "257 characters", { displayName: "x".repeat(257) }],
  ] as readonly [PurposeId, string, string, Partial<ReturnType<typeof fresh>>][]
).map(([id, field, holds, change]) => ({
  id,
  method: "UserAccountService/CreateAccount",
  field,
  holds,
  likelyMistake: "accounts are stored as they come: what a policy compares with never matches, or too often",
  requests: async (t) => ({
    right: () => createdAccount(t),
    wrong: () => createdAccount(t, { ...fresh(t), ...change }),
  }),
}));

export const userAccountRulePurposes: readonly Purpose[] = [
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BV-02",
    title: "answers an account that is created again with the account",
    methods: ["UserAccountService/CreateAccount"],
    stimulus: "CreateAccount ten times at once with the same contents, then once more",
    expected: "one account of version 1, each time",
    likelyMistake: "a lost answer that is asked for again is refused, or resets the account",
    async run(t) {
      const account = fresh(t);
      const answers = await Promise.all(Array.from({ length: 10 }, () => createdAccount(t, account)));
      answers.push(await createdAccount(t, account));
      expect(
        answers.every(({ version, identity }) => version === 1n && identity === account.identity),
        "version 1 of one account",
      );
      const times = new Set(answers.map(({ createdAt }) => `${createdAt?.seconds}.${createdAt?.nanos}`));
      expect(times.size === 1, "one time of creation");
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BV-03",
    title: "lists every account once, in the order of the identities, page by page",
    methods: ["UserAccountService/ListAccounts"],
    stimulus: "three accounts created; ListAccounts in pages of two",
    expected: "each account once, in the order of the identities; two at most a page; no token after the last",
    likelyMistake: "pages are counted off: an account that comes in between is skipped or told twice",
    async run(t) {
      const own = [await createdAccount(t), await createdAccount(t), await createdAccount(t)];
      const seen: string[] = [];
      let pageToken = "";
      do {
        const page = await accounts(t.as("operator")).listAccounts({ pageSize: 2, pageToken });
        expect(page.accounts.length <= 2, "two accounts a page at most");
        seen.push(...page.accounts.map(({ identity }) => identity));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(
        seen.every((identity, index) => index === 0 || (seen[index - 1] ?? "") < identity),
        "ascending identities, none twice",
      );
      expect(
        own.every(({ identity }) => seen.includes(identity)),
        "each of the three accounts",
      );
      t.seen(`${seen.length} accounts`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BV-04",
    title: "shows and deletes a user's own account to that user",
    methods: ["UserAccountService/GetAccount", "UserAccountService/DeleteAccount"],
    initialState: "a user with a certificate and an account",
    stimulus: "GetAccount and DeleteAccount, twice, by the user itself",
    expected: "the account; then deleted, both times",
    likelyMistake: "users cannot leave without an operator, or a repetition is refused",
    async run(t) {
      const user = await t.freshUser(DataConsumer);
      const { identity } = user;
      const { account } = await accounts(user).getAccount({ identity });
      expect(account?.identity === identity, "the account");
      await accounts(user).deleteAccount({ identity });
      await accounts(user).deleteAccount({ identity });
      await expectRefusal(() => accounts(user).getAccount({ identity }), ErrorReason.ACCOUNT_NOT_FOUND);
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BV-05",
    title: "sets version and times of an account itself",
    methods: ["UserAccountService/CreateAccount"],
    stimulus: "CreateAccount with version 99 and a time of creation in 1970",
    expected: "version 1, created now",
    likelyMistake: "the message is stored as it came",
    async run(t) {
      const account = { ...fresh(t), version: 99n, createdAt: { seconds: 0n, nanos: 0 } };
      const created = await createdAccount(t, account);
      expect(created.version === 1n, `version 1 (got ${created.version})`);
      const age = Date.now() / 1000 - Number(created.createdAt?.seconds ?? 0n);
      expect(Math.abs(age) < 300, "created now");
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BV-06",
    title: "takes one of many changes that build on the same version",
    methods: ["UserAccountService/UpdateAccount"],
    initialState: "an account of version 1",
    stimulus: "UpdateAccount eight times at once, each with another name, all building on version 1",
    expected:
      "one is taken, the others are refused with ACCOUNT_VERSION_STALE; the account has the name of the one taken",
    likelyMistake: "the version is read before it is written, with nothing to keep two changes apart",
    async run(t) {
      const account = await createdAccount(t);
      const names = Array.from({ length: 8 }, (_, index) => `name ${index}`);
      const { accepted, refused } = await atOnce(
        names.map((displayName) => async () => {
          await accounts(t.as("operator")).updateAccount({ account: { ...account, displayName } });
          return displayName;
        }),
      );
      expect(accepted.length === 1, `one change taken (got ${accepted.length})`);
      expect(
        refused.every((reason) => reason === ErrorReason.ACCOUNT_VERSION_STALE),
        "the others refused with ACCOUNT_VERSION_STALE",
      );
      const { account: now } = await accounts(t.as("operator")).getAccount({ identity: account.identity });
      expect(now?.displayName === accepted[0] && now?.version === 2n, "the name of the change taken, version 2");
    },
  }),
  ...malformed.map((row) => malformedField(row, { clause: "6.2.2", capabilities: ["UAM1"] })),
  malformedField(
    {
      id: "TP/DSSM/UAM/BI-07",
      method: "UserAccountService/ListAccounts",
      field: "page_size",
      holds: "1001",
      likelyMistake: "a page is as long as is asked for: one call makes the server build them all in memory",
      requests: async (t) => ({
        right: () => accounts(t.as("operator")).listAccounts({ pageSize: 1000 }),
        wrong: () => accounts(t.as("operator")).listAccounts({ pageSize: 1001 }),
      }),
    },
    { clause: "6.2.2", capabilities: ["UAM1"] },
  ),
  ...(["GetAccount", "DeleteAccount"] as const).map((name, index) =>
    wrongCaller({
      id: `TP/DSSM/UAM/BI-0${8 + index}` as PurposeId,
      clause: "6.2.2",
      method: `UserAccountService/${name}`,
      capabilities: ["UAM1"],
      caller: "another user",
      answers: `${name} by the user itself`,
      likelyMistake: "users are let through and their own identity is not compared with the one asked for",
      calls: async (t) => {
        const [one, other] = [await t.freshUser(DataConsumer), await t.freshUser(DataConsumer)];
        const call = ({ identity }: User) =>
          name === "GetAccount" ? accounts(one).getAccount({ identity }) : accounts(one).deleteAccount({ identity });
        const state = () => accounts(other).getAccount({ identity: other.identity });
        return { right: () => call(one), wrong: () => call(other), state };
      },
    }),
  ),
  ...(["ListAccounts", "UpdateAccount"] as const).map((name, index) =>
    wrongCaller({
      id: `TP/DSSM/UAM/BI-${10 + index}` as PurposeId,
      clause: "6.2.2",
      method: `UserAccountService/${name}`,
      capabilities: ["UAM1"],
      caller: "a user",
      answers: `${name} by an operator`,
      likelyMistake: "a user may see its own account, so it is let through everywhere: it gives itself rights",
      calls: async (t) => {
        const user = await t.freshUser(DataConsumer);
        const { account } = await accounts(user).getAccount({ identity: user.identity });
        // What the user asks for is the version after the operator's: nothing but the caller is wrong.
        const call = (as: User, version = account?.version ?? 0n) =>
          name === "ListAccounts"
            ? accounts(as).listAccounts({ pageSize: 1 })
            : accounts(as).updateAccount({ ...(account && { account: { ...account, version } }) });
        return {
          right: () => call(t.as("operator")),
          wrong: () => call(user, (account?.version ?? 0n) + 1n),
          state: () => accounts(user).getAccount({ identity: user.identity }),
        };
      },
    }),
  ),
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BO-01",
    title: "creates no second account of one name",
    methods: ["UserAccountService/CreateAccount"],
    initialState: "an account",
    stimulus: "CreateAccount for the same identity with another country",
    expected: { reason: ErrorReason.ACCOUNT_EXISTS },
    twin: "CreateAccount again with the same contents",
    likelyMistake: "the second creation overwrites what an operator has verified",
    async run(t) {
      const account = fresh(t);
      await createdAccount(t, account);
      await t.positiveTwin("the same contents again", () => createdAccount(t, account));
      const other = { ...account, attributes: { ...account.attributes, country: "LI" } };
      await leavingUnchanged(
        "the account",
        () => accounts(t.as("operator")).getAccount({ identity: account.identity }),
        () => t.expectRefusal(() => accounts(t.as("operator")).createAccount({ account: other })),
      );
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BO-02",
    title: "changes no account on the ground of a version that is over",
    methods: ["UserAccountService/UpdateAccount"],
    initialState: "an account of version 2",
    stimulus: "UpdateAccount that builds on version 1; on version 3, which is not there yet",
    expected: { reason: ErrorReason.ACCOUNT_VERSION_STALE },
    twin: "UpdateAccount that builds on version 1, before",
    likelyMistake: "the last writer wins, and an operator's change is lost without a word",
    async run(t) {
      const account = await createdAccount(t);
      const operator = accounts(t.as("operator"));
      await t.positiveTwin("on the current version", () => operator.updateAccount({ account }));
      const now = () => operator.getAccount({ identity: account.identity });
      await leavingUnchanged("the account", now, async () => {
        await t.expectRefusal(() => operator.updateAccount({ account: { ...account, displayName: "stale" } }));
        await t.expectRefusal(() => operator.updateAccount({ account: { ...account, version: 3n } }));
      });
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/UAM/BO-03",
    title: "knows no account that was never made",
    methods: ["UserAccountService/GetAccount", "UserAccountService/UpdateAccount", "UserAccountService/DeleteAccount"],
    stimulus: "GetAccount, UpdateAccount and DeleteAccount by an operator, of nobody",
    expected: { reason: ErrorReason.ACCOUNT_NOT_FOUND },
    twin: "GetAccount of an account that is there",
    likelyMistake: "UpdateAccount creates what is not there, DeleteAccount confirms what it never did",
    async run(t) {
      const operator = accounts(t.as("operator"));
      const { identity } = await createdAccount(t);
      await t.positiveTwin("an account that is there", () => operator.getAccount({ identity }));
      const nobody = fresh(t);
      await t.expectRefusal(() => operator.getAccount({ identity: nobody.identity }));
      await leavingUnchanged(
        "the account that there is not",
        () => operator.getAccount({ identity: nobody.identity }),
        () => t.expectRefusal(() => operator.updateAccount({ account: { ...nobody, version: 1n } })),
      );
      await t.expectRefusal(() => operator.deleteAccount({ identity: nobody.identity }));
    },
  }),
];
