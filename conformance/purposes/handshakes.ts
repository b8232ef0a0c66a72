// Authentication for communications (AAC, clause 7.2.5), of each of the three servers.
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { expectRefusal } from "../refusal.ts";
import { type EntityRole, entityRoles } from "../target.ts";
import { type HandshakesOf, handshakePurposes } from "./handshake.ts";
import { freshId } from "./malformed-field.ts";
import type { Purpose } from "./purpose.ts";

/** Each server is asked for something that the user does not have: the answer shows that the user was let through. */
export const communications: Readonly<Record<EntityRole, Omit<HandshakesOf, "role" | "of">>> = {
  dssm: {
    connecting: ["F3.4.1", "F4.2.1"],
    method: "UserAuthenticationService/BeginAuthentication",
    call: (connections) => connections.client(UserAuthenticationService, "dssm").beginAuthentication({}),
    callIsAnswered: (call) => answered(call, ErrorReason.ACCOUNT_NOT_FOUND),
  },
  kss: {
    connecting: ["F3.2.1", "F3.7.1", "F4.12.1"],
    method: "KeyStorageService/GetKeyStatus",
    call: (connections, t) => connections.client(KeyStorageService, "kss").getKeyStatus({ keyId: freshId(t) }),
    callIsAnswered: (call) => answered(call, ErrorReason.KEY_NOT_FOUND),
  },
  dss: {
    connecting: ["F3.2.3", "F3.7.3", "F4.15.1"],
    method: "DataStorageService/GetPackageStatus",
    call: (connections, t) => connections.client(DataStorageService, "dss").getPackageStatus({ packageId: freshId(t) }),
    callIsAnswered: (call) => answered(call, ErrorReason.PACKAGE_NOT_FOUND),
  },
};

/** A user may have an account already. */
async function answered(call: () => Promise<unknown>, otherwise: ErrorReason): Promise<void> {
  await call().catch((cause: unknown) => expectRefusal(() => Promise.reject(cause), otherwise));
}

export const communicationsPurposes: readonly Purpose[] = entityRoles.flatMap((role) => {
  const of = `TP/${role.toUpperCase() as Uppercase<EntityRole>}/AAC` as const;
  return handshakePurposes({ role, of, ...communications[role] });
});
