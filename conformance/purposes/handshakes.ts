// Authentication for communications (AAC, clause 7.2.5), of each of the three servers.
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { expectRefusal } from "../refusal.ts";
import { handshakePurposes } from "./handshake.ts";
import { freshId } from "./malformed-field.ts";
import type { Purpose } from "./purpose.ts";

// Each server is asked for something that the user does not have: the answer shows that the user was let through.
export const communicationsPurposes: readonly Purpose[] = [
  ...handshakePurposes({
    role: "dssm",
    of: "TP/DSSM/AAC",
    method: "UserAuthenticationService/BeginAuthentication",
    call: (connections) => connections.client(UserAuthenticationService, "dssm").beginAuthentication({}),
    callIsAnswered: (call) => expectRefusal(call, ErrorReason.ACCOUNT_NOT_FOUND),
  }),
  ...handshakePurposes({
    role: "kss",
    of: "TP/KSS/AAC",
    method: "KeyStorageService/GetKeyStatus",
    call: (connections, t) => connections.client(KeyStorageService, "kss").getKeyStatus({ keyId: freshId(t) }),
    callIsAnswered: (call) => expectRefusal(call, ErrorReason.KEY_NOT_FOUND),
  }),
  ...handshakePurposes({
    role: "dss",
    of: "TP/DSS/AAC",
    method: "DataStorageService/GetPackageStatus",
    call: (connections, t) => connections.client(DataStorageService, "dss").getPackageStatus({ packageId: freshId(t) }),
    callIsAnswered: (call) => expectRefusal(call, ErrorReason.PACKAGE_NOT_FOUND),
  }),
];
