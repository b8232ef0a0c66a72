// What a session is good for that is somebody else's or has ended (AAU, clause 6.2.2).
import type { CallOptions } from "@connectrpc/connect";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { expect } from "../procedures/procedure.ts";
import { DataConsumer } from "../roles/data-consumer.ts";
import { DataProvider } from "../roles/data-provider.ts";
import type { User } from "../roles/user.ts";
import { draft, policies, published } from "./dssm-policy-draft.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { firstOf } from "./session-gate.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const endSession = (user: User, options: CallOptions) =>
  user.client(UserAuthenticationService, "dssm").endSession({}, options);
const list = (user: DataProvider, options: CallOptions) => policies(user).listPolicies({}, options);

/** Calls that show what belongs to a user who has published something, and need nothing but the session. */
function showing(user: DataProvider, contractAddress: string): readonly ((options: CallOptions) => Promise<unknown>)[] {
  const accesses = user.client(DataSharingAccessService, "dssm");
  return [
    (options) => list(user, options),
    (options) => firstOf((signal) => policies(user).watchNotifications({ afterPosition: 0n }, { ...options, signal })),
    (options) => accesses.listAccessRecords({}, options),
    (options) => accesses.listUsageRecords({ contractAddress }, options),
  ];
}

export const sessionOverPurposes: readonly Purpose[] = [
  purpose({
    id: "TP/DSSM/AAU/BI-14",
    title: "lets nobody end another user's session",
    clause: "6.2.2",
    capabilities: ["AAU1", "AAU2"],
    methods: ["UserAuthenticationService/EndSession"],
    initialState: "two users in session",
    stimulus: "EndSession by the one with the other's x1410-session; with a session that nobody has",
    expected: { reason: ErrorReason.SESSION_INVALID },
    twin: "EndSession by a user with its own session",
    likelyMistake: "whoever has seen a session's secret can end it, or the answer says which secrets are good",
    async run(t) {
      const [one, other] = [await t.freshUser(DataProvider), await t.freshUser(DataProvider)];
      for (const user of [one, other]) await user.logIn();
      const nobodys = { headers: { "x1410-session": Buffer.from(t.random(32)).toString("base64url") } };
      await leavingUnchanged(
        "what the other's session is good for",
        () => list(other, other.inSession),
        async () => {
          await t.positiveTwin("the session before, its own", async () => {
            const before = one.inSession;
            await one.logIn();
            await endSession(one, before);
          });
          await t.expectRefusal(() => endSession(one, other.inSession));
          await t.expectRefusal(() => endSession(one, nobodys));
        },
      );
    },
  }),
  purpose({
    id: "TP/DSSM/AAU/BO-06",
    title: "shows a user nothing of its own in a session that has ended",
    clause: "6.2.2",
    capabilities: ["AAU1", "AAU2"],
    methods: [
      "DataSharingPolicyService/ListPolicies",
      "DataSharingPolicyService/WatchNotifications",
      "DataSharingAccessService/ListAccessRecords",
      "DataSharingAccessService/ListUsageRecords",
    ],
    initialState: "a provider with a policy published, in two sessions",
    stimulus: "EndSession; each of the methods in the session that has ended",
    expected: { reason: ErrorReason.SESSION_INVALID },
    twin: "each of the methods in the other session",
    likelyMistake: "lists and streams change nothing, so nobody looks whether the session still stands",
    async run(t) {
      const user = await t.freshUser(DataProvider);
      await user.logIn();
      const ended = user.inSession;
      await user.logIn();
      const { contractAddress } = await published(t, await draft(t, undefined, user));
      await endSession(user, ended);
      for (const call of showing(user, contractAddress)) {
        await t.positiveTwin("in the other session", () => call(user.inSession));
        await t.expectRefusal(() => call(ended));
      }
    },
  }),
  purpose({
    id: "TP/DSSM/UAM/BO-04",
    title: "lists no account any more that was deleted",
    clause: "6.2.2",
    capabilities: ["UAM1"],
    methods: ["UserAccountService/ListAccounts"],
    initialState: "two accounts",
    stimulus: "DeleteAccount of the one; ListAccounts, all pages",
    expected: "the other alone of the two",
    twin: "ListAccounts before, which has both",
    likelyMistake: "accounts are marked as deleted, and the list does not look at the mark",
    async run(t) {
      const [kept, deleted] = [await t.freshUser(DataConsumer), await t.freshUser(DataConsumer)];
      const operator = t.as("operator").client(UserAccountService, "dssm");
      const listed = async () => {
        const identities: string[] = [];
        let pageToken = "";
        do {
          const page = await operator.listAccounts({ pageSize: 1000, pageToken });
          identities.push(...page.accounts.map(({ identity }) => identity));
          pageToken = page.nextPageToken;
        } while (pageToken !== "");
        return [kept, deleted].filter(({ identity }) => identities.includes(identity)).length;
      };
      await t.positiveTwin("before, both are listed", async () => {
        expect((await listed()) === 2, "both accounts");
      });
      await operator.deleteAccount({ identity: deleted.identity });
      expect((await listed()) === 1, "one of the two accounts");
    },
  }),
];
