// User account management (UAM, clause 6.2.2) of a data-sharing service management.
import type { Client } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { expect } from "../procedures/procedure.ts";
import type { User } from "../roles/user.ts";
import { type Purpose, purpose } from "./purpose.ts";

function userAccounts(user: User): Client<typeof UserAccountService> {
  return user.client(UserAccountService, "dssm");
}

export const userAccountPurposes: readonly Purpose[] = [
  purpose({
    id: "TP/DSSM/UAM/BV-01",
    title: "creates, queries, updates and deletes an account",
    clause: "6.2.2",
    capabilities: ["UAM1"],
    methods: ["CreateAccount", "GetAccount", "UpdateAccount", "DeleteAccount"].map(
      (name) => `UserAccountService/${name}`,
    ),
    initialState: "an operator with a certificate",
    stimulus: "CreateAccount, GetAccount, UpdateAccount, DeleteAccount, GetAccount",
    expected: "each change is seen by the next query; deleted, it is gone",
    likelyMistake: "UpdateAccount answers without having changed what GetAccount reads",
    async run(t) {
      const accounts = userAccounts(t.as("operator"));
      const identity = `urn:x1410:user:${t.freshName("account")}`;
      const created = await accounts.createAccount({
        account: { identity, displayName: "first", rights: { publish: true }, attributes: { country: "CH" } },
      });
      t.cleanUp(() => accounts.deleteAccount({ identity }));
      expect(created.account?.identity === identity, "the account created");
      const { account } = await accounts.getAccount({ identity });
      expect(account?.displayName === "first" && account.rights?.publish === true, "the account as created");
      const { version } = account;
      account.displayName = "second";
      await accounts.updateAccount({ account });
      const { account: updated } = await accounts.getAccount({ identity });
      expect(updated?.displayName === "second", "the account as updated");
      expect(updated.version > version, "a higher version after the update");
      await t.positiveTwin("the account can be deleted", () => accounts.deleteAccount({ identity }));
      await t.expectRefusal(() => accounts.getAccount({ identity }), ErrorReason.ACCOUNT_NOT_FOUND);
    },
  }),
  purpose({
    id: "TP/DSSM/UAM/BI-01",
    title: "lets nobody but an operator create an account",
    clause: "6.2.2",
    capabilities: ["UAM1", "AAC3"],
    methods: ["UserAccountService/CreateAccount"],
    initialState: "a user with a certificate",
    stimulus: "CreateAccount by a user, with the right to publish",
    expected: { reason: ErrorReason.CALLER_NOT_ALLOWED },
    twin: "the same request by an operator",
    likelyMistake:
      "any certificate of the authority is let through: callers are not told apart by the kind in their URI",
    async run(t) {
      const account = () => ({
        identity: `urn:x1410:user:${t.freshName("account")}`,
        displayName: "Conformance kit",
        rights: { publish: true },
      });
      const operator = userAccounts(t.as("operator"));
      await t.positiveTwin("an operator creates one", async () => {
        const own = account();
        await operator.createAccount({ account: own });
        t.cleanUp(() => operator.deleteAccount({ identity: own.identity }));
      });
      const wrong = account();
      t.cleanUp(() => operator.deleteAccount({ identity: wrong.identity }));
      await t.expectRefusal(() => userAccounts(t.provider).createAccount({ account: wrong }));
    },
  }),
];
