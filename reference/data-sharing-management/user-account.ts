// User account management (UAM1, clause 6.2.2): creates, answers, changes and deletes the accounts of users. Accounts are personal data
// and stay off-chain.
import { createHash } from "node:crypto";
import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Account, AccountSchema, RightsSchema, VerifiedAttributesSchema } from "../../gen/x1410/v1/identity_pb.ts";
import {
  CreateAccountResponseSchema,
  DeleteAccountResponseSchema,
  GetAccountResponseSchema,
  ListAccountsResponseSchema,
  UpdateAccountResponseSchema,
  UserAccountService,
} from "../../gen/x1410/v1/user_account_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { peerKey } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { commit, messageTable, put, remove, type Store, textTable } from "../store/durable-batch.ts";

const DEFAULT_PAGE_SIZE = 100;
const OPERATOR = "urn:x1410:entity:operator:";

/** What the other components read of the accounts. */
export interface Accounts {
  /** The account of this identity as of now; undefined where there is none. */
  get(identity: string): Promise<Account | undefined>;
}

export interface UserAccountDependencies {
  /** Of user account management alone. */
  readonly store: Store;
  /** Where the sessions are that end with an account. */
  readonly sessions: { endAll(identity: string): Promise<void> };
  readonly now: () => Date;
}

/** Reads the accounts that `createUserAccountManagement` keeps in the same store. */
export function readAccounts(store: Store): Accounts {
  const accounts = messageTable(store, "accounts");
  return {
    async get(identity) {
      const bytes = await accounts.get(identity);
      return bytes === undefined ? undefined : fromBinary(AccountSchema, bytes);
    },
  };
}

export function createUserAccountManagement(
  dependencies: UserAccountDependencies,
): Registration<typeof UserAccountService> {
  const { store, sessions, now } = dependencies;
  const accounts = messageTable(store, "accounts");
  // Digests of identities whose account was deleted, so that a repeated deletion is told from one of nobody.
  const deleted = textTable(store, "deleted");
  const { get } = readAccounts(store);
  const mutex = new KeyedMutex();

  const save = (account: Account) =>
    commit(store, [
      put(accounts, account.identity, toBinary(AccountSchema, account)),
      remove(deleted, digestOf(account.identity)),
    ]);

  const found = async (identity: string): Promise<Account> => {
    const account = await get(identity);
    if (account === undefined) throw refusal(ErrorReason.ACCOUNT_NOT_FOUND);
    return account;
  };

  return implement(UserAccountService, {
    createAccount({ account: wanted = create(AccountSchema) }) {
      return mutex.run(wanted.identity, async () => {
        const known = await get(wanted.identity);
        if (known !== undefined) {
          if (!equals(AccountSchema, contentsOf(known), contentsOf(wanted))) throw refusal(ErrorReason.ACCOUNT_EXISTS);
          return create(CreateAccountResponseSchema, { account: known });
        }
        // Sessions of an earlier account of this name never come back to life.
        await sessions.endAll(wanted.identity);
        const createdAt = timestampFromDate(now());
        const account = { ...contentsOf(wanted), version: 1n, createdAt, updatedAt: createdAt };
        await save(account);
        return create(CreateAccountResponseSchema, { account });
      });
    },

    async getAccount({ identity }, context) {
      requireOwnOrOperator(context, identity);
      return create(GetAccountResponseSchema, { account: await found(identity) });
    },

    async listAccounts({ pageSize, pageToken }) {
      const limit = pageSize === 0 ? DEFAULT_PAGE_SIZE : pageSize;
      const page: Account[] = [];
      // The token is the last identity of the page before, so that pages neither skip nor repeat while accounts come and go.
      for await (const bytes of accounts.values({ gt: pageToken, limit: limit + 1 })) {
        page.push(fromBinary(AccountSchema, bytes));
      }
      const more = page.length > limit;
      if (more) page.pop();
      return create(ListAccountsResponseSchema, {
        accounts: page,
        nextPageToken: more ? (page.at(-1)?.identity ?? "") : "",
      });
    },

    updateAccount({ account: wanted = create(AccountSchema) }) {
      return mutex.run(wanted.identity, async () => {
        const known = await found(wanted.identity);
        if (wanted.version !== known.version) throw refusal(ErrorReason.ACCOUNT_VERSION_STALE);
        const account: Account = {
          ...contentsOf(wanted),
          version: known.version + 1n,
          ...(known.createdAt === undefined ? {} : { createdAt: known.createdAt }),
          updatedAt: timestampFromDate(now()),
        };
        await save(account);
        return create(UpdateAccountResponseSchema, { account });
      });
    },

    async deleteAccount({ identity }, context) {
      requireOwnOrOperator(context, identity);
      await mutex.run(identity, async () => {
        if ((await get(identity)) === undefined) {
          if ((await deleted.get(digestOf(identity))) === undefined) throw refusal(ErrorReason.ACCOUNT_NOT_FOUND);
        } else {
          await commit(store, [remove(accounts, identity), put(deleted, digestOf(identity), "")]);
        }
        await sessions.endAll(identity);
      });
      return create(DeleteAccountResponseSchema);
    },
  });
}

/** What an operator sets; the rest is user account management's own. */
function contentsOf({ identity, displayName, rights, attributes }: Account): Account {
  return create(AccountSchema, {
    identity,
    displayName,
    rights: rights ?? create(RightsSchema),
    attributes: attributes ?? create(VerifiedAttributesSchema),
  });
}

/** To an operator any account, to a user its own: whether another one exists, a user does not learn. */
function requireOwnOrOperator(context: HandlerContext, identity: string): void {
  const caller = context.values.get(peerKey).identity;
  if (caller !== identity && !caller.startsWith(OPERATOR)) throw refusal(ErrorReason.CALLER_NOT_ALLOWED, "identity");
}

function digestOf(identity: string): string {
  return createHash("sha256").update(identity).digest("hex");
}
