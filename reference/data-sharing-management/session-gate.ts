// The door of every method that users call (AAU2, clause 6.2.2): whose session came with the call, and may that user do this.
import { create } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type Account, AccountSchema } from "../../gen/x1410/v1/identity_pb.ts";
import type { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { peerKey } from "../communications/peer.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { bindingOf, type Sessions } from "./sessions.ts";

/** Metadata key of the session. */
export const SESSION_METADATA = "x1410-session";

export type Right = "publish" | "access";

export interface AuthenticatedUser {
  /** Rights and verified attributes as of now. */
  readonly account: Account;
  readonly identity: string;
  /** SHA-256 of the certificate of the connection, 64 hexadecimal digits; "" on a connection by pre-shared key. */
  readonly fingerprint: string;
}

export interface SessionGate {
  /**
   * The user behind the call.
   * @throws ConnectError SESSION_REQUIRED, SESSION_INVALID; RIGHT_MISSING where the account lacks `right`; over a network
   * PEER_UNAVAILABLE.
   */
  require(context: HandlerContext, right?: Right): Promise<AuthenticatedUser>;
}

/** Asks the session store of the same process. */
export function localSessionGate(sessions: Sessions): SessionGate {
  return gateOver(async (secret, binding) => {
    const session = await sessions.find(secret, binding);
    if (session === undefined) throw refusal(ErrorReason.SESSION_INVALID);
    return session.account;
  });
}

/** Asks user authentication in another process (ValidateSession). */
export function remoteSessionGate(authentication: Client<typeof UserAuthenticationService>): SessionGate {
  return gateOver(async (session, binding) => {
    const userCertificateSha256 = Buffer.from(binding, "hex");
    try {
      const { account } = await authentication.validateSession({ session, userCertificateSha256 });
      return account ?? create(AccountSchema);
    } catch (error) {
      if (reasonOf(error) !== ErrorReason.UNSPECIFIED) throw error;
      if (ConnectError.from(error).code === Code.InvalidArgument) throw refusal(ErrorReason.SESSION_INVALID);
      throw refusal(ErrorReason.PEER_UNAVAILABLE, "user-authentication");
    }
  });
}

function gateOver(accountOf: (secret: string, binding: string) => Promise<Account>): SessionGate {
  return {
    async require(context, right) {
      const peer = context.values.get(peerKey);
      const secret = context.requestHeader.get(SESSION_METADATA) ?? "";
      if (secret === "") throw refusal(ErrorReason.SESSION_REQUIRED);
      const account = await accountOf(secret, bindingOf(peer));
      if (account.identity !== peer.identity) throw refusal(ErrorReason.SESSION_INVALID);
      if (right !== undefined && account.rights?.[right] !== true) throw refusal(ErrorReason.RIGHT_MISSING, right);
      return { account, identity: peer.identity, fingerprint: peer.fingerprint };
    },
  };
}
