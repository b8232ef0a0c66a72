// Changes that are refused and carried out all the same: who believes the refusal sees nothing of them.
import { create, type DescMethodUnary, type MessageShape } from "@bufbuild/protobuf";
import { ConnectError, type HandlerContext } from "@connectrpc/connect";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { UsageRecordSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { DataSharingPolicyService } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import { DataStorageService, PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyState, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { GetAccountResponseSchema, UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { UserAuthenticationService } from "../../gen/x1410/v1/user_authentication_pb.ts";
import { peerKey } from "../../reference/communications/peer.ts";
import { reasonOf, refusal } from "../../reference/communications/refusal.ts";
import type { PurposeId } from "../purposes/purpose.ts";
import type { EntityRole } from "../target.ts";
import type { Alteration, Mutant } from "./mutant.ts";

const { registerKey, storeKey, getKeyStatus, deleteKey, setKeyUse } = KeyStorageService.method;
const { storePackage, getPackageStatus, deletePackage, setPackageUse } = DataStorageService.method;
const { createAccount, getAccount, updateAccount, deleteAccount } = UserAccountService.method;
const { endSession } = UserAuthenticationService.method;
const { submitPolicy, updatePolicy, withdrawPolicy, getPolicy } = DataSharingPolicyService.method;
const { introspectToken, revokeToken } = TokenService.method;
const { requestAccess, updateAccessRecord, getAccessRecord, reportUsage, listUsageRecords } =
  DataSharingAccessService.method;

/** What is answered, once it has happened, by the method that shows it. */
type Shown = (method: () => Promise<unknown>) => Promise<unknown>;

function shows<M extends DescMethodUnary>(
  method: M,
  alter: (answer: MessageShape<M["output"]>) => MessageShape<M["output"]>,
): [DescMethodUnary, Shown] {
  return [method, async (original) => alter((await original()) as MessageShape<M["output"]>)];
}

const gone = (method: DescMethodUnary, reason: ErrorReason): [DescMethodUnary, Shown] => [
  method,
  () => Promise.reject(refusal(reason)),
];

const keyGone = gone(getKeyStatus, ErrorReason.KEY_NOT_FOUND);
const keyStored = shows(getKeyStatus, (answer) => ({ ...answer, state: KeyState.STORED }));
const keyUse = shows(getKeyStatus, (answer) => ({ ...answer, inUse: !answer.inUse }));
const keyOfAnother = shows(getKeyStatus, (answer) => ({
  ...answer,
  managementIdentity: "urn:x1410:entity:dssm:kit-second",
}));
const packageGone = gone(getPackageStatus, ErrorReason.PACKAGE_NOT_FOUND);
const packageStored = shows(getPackageStatus, (answer) => ({ ...answer, state: PackageState.STORED }));
const packageUse = shows(getPackageStatus, (answer) => ({ ...answer, inUse: !answer.inUse }));
const account = shows(getAccount, ({ account: shown, ...answer }) => ({
  ...answer,
  ...(shown && { account: { ...shown, displayName: "another" } }),
}));
const policy = shows(getPolicy, ({ policy: shown, ...answer }) => ({
  ...answer,
  ...(shown && { policy: { ...shown, version: shown.version + 7n } }),
}));
/** There, where none was. */
const newPolicy: [DescMethodUnary, Shown] = [getPolicy, async () => create(getPolicy.output, { policy: {} })];
const record = shows(getAccessRecord, ({ record: shown, ...answer }) => ({
  ...answer,
  ...(shown && { record: { ...shown, note: "of somebody else" } }),
}));
const usage = shows(listUsageRecords, (answer) => ({
  ...answer,
  records: [...answer.records, create(UsageRecordSchema)],
}));

type Row = readonly [
  id: string,
  foundBy: PurposeId,
  method: Alteration["method"],
  /** What it is refused for; where access control or the rules of the message refuse it, who calls, or what is wrong. */
  refused: ErrorReason | { readonly caller: string } | { readonly field: string },
  shown: [DescMethodUnary, Shown],
];

const user = { caller: "urn:x1410:user:" };
const management = { caller: "urn:x1410:entity:dssm:" };

// biome-ignore format: a table
const rows: readonly Row[] = [
  ["kss-deletes-for-a-stranger", "TP/KSS/KSM/BI-01", deleteKey, ErrorReason.KEY_NOT_FOUND, keyGone],
  ["kss-stores-for-a-stranger", "TP/KSS/KSM/BI-01", storeKey, ErrorReason.KEY_NOT_FOUND, keyStored],
  ["kss-stores-over", "TP/KSS/KSM/BO-01", storeKey, ErrorReason.KEY_EXISTS, gone(storeKey, ErrorReason.KEY_EXISTS)],
  ["kss-deletes-what-is-in-use", "TP/KSS/KSM/BO-02", deleteKey, ErrorReason.OBJECT_IN_USE, keyGone],
  ["kss-marks-what-is-not-stored", "TP/KSS/KSM/BO-03", setKeyUse, ErrorReason.KEY_NOT_STORED, keyUse],
  ["kss-renames-the-management", "TP/KSS/KSM/BO-06", registerKey, ErrorReason.REQUEST_ID_REUSED, keyOfAnother],
  ["kss-marks-for-any-management", "TP/KSS/KSM/BI-23", setKeyUse, ErrorReason.KEY_NOT_FOUND, keyUse],
  ["kss-frees-for-the-owner", "TP/KSS/KSM/BI-18", setKeyUse, user, keyUse],
  ["kss-deletes-for-the-management", "TP/KSS/KSM/BI-19", deleteKey, management, keyGone],
  ["kss-stores-for-the-management", "TP/KSS/KSM/BI-20", storeKey, management, keyStored],
  ["dss-deletes-for-a-stranger", "TP/DSS/DSM/BI-23", deletePackage, ErrorReason.PACKAGE_NOT_FOUND, packageGone],
  ["dss-stores-for-a-stranger", "TP/DSS/DSM/BI-23", storePackage, ErrorReason.PACKAGE_NOT_FOUND, packageStored],
  ["dss-deletes-what-is-in-use", "TP/DSS/DSM/BO-03", deletePackage, ErrorReason.OBJECT_IN_USE, packageGone],
  ["dss-marks-what-is-not-stored", "TP/DSS/DSM/BO-04", setPackageUse, ErrorReason.PACKAGE_NOT_STORED, packageUse],
  ["dss-marks-for-any-management", "TP/DSS/DSM/BI-25", setPackageUse, ErrorReason.PACKAGE_NOT_FOUND, packageUse],
  ["dss-stores-for-the-management", "TP/DSS/DSM/BI-15", storePackage, management, packageStored],
  ["dss-frees-for-the-owner", "TP/DSS/DSM/BI-16", setPackageUse, user, packageUse],
  ["dss-deletes-for-the-management", "TP/DSS/DSM/BI-17", deletePackage, management, packageGone],
  ["uam-deletes-for-another-user", "TP/DSSM/UAM/BI-09", deleteAccount, ErrorReason.CALLER_NOT_ALLOWED, gone(getAccount, ErrorReason.ACCOUNT_NOT_FOUND)],
  ["uam-changes-for-a-user", "TP/DSSM/UAM/BI-11", updateAccount, user, account],
  ["uam-creates-over", "TP/DSSM/UAM/BO-01", createAccount, ErrorReason.ACCOUNT_EXISTS, account],
  ["uam-changes-what-is-over", "TP/DSSM/UAM/BO-02", updateAccount, ErrorReason.ACCOUNT_VERSION_STALE, account],
  ["uam-makes-by-a-change", "TP/DSSM/UAM/BO-03", updateAccount, ErrorReason.ACCOUNT_NOT_FOUND, [getAccount, async () => create(GetAccountResponseSchema)]],
  ["tm-revokes-for-a-stranger", "TP/DSSM/TM/BI-06", revokeToken, ErrorReason.TOKEN_NOT_FOUND, shows(introspectToken, (answer) => ({ ...answer, active: false }))],
  ["aau-ends-for-a-stranger", "TP/DSSM/AAU/BI-14", endSession, ErrorReason.SESSION_INVALID, gone(DataSharingPolicyService.method.listPolicies, ErrorReason.SESSION_INVALID)],
  ["dspm-updates-for-a-stranger", "TP/DSSM/DSPM/BO-02", updatePolicy, ErrorReason.POLICY_NOT_FOUND, policy],
  ["dspm-submits-over", "TP/DSSM/DSPM/BO-03", submitPolicy, ErrorReason.POLICY_STATE_INVALID, policy],
  ["dspm-updates-what-has-ended", "TP/DSSM/DSPM/BO-04", updatePolicy, ErrorReason.POLICY_STATE_INVALID, policy],
  ["dspm-withdraws-what-is-over", "TP/DSSM/DSPM/BO-05", withdrawPolicy, ErrorReason.POLICY_VERSION_STALE, policy],
  ["dspm-keeps-what-it-refuses", "TP/DSSM/DSPM/BI-87", submitPolicy, ErrorReason.PAYLOAD_MALFORMED, newPolicy],
  ["dspm-updates-out-of-turn", "TP/DSSM/DSPM/BI-95", updatePolicy, ErrorReason.POLICY_VERSION_STALE, policy],
  ["dspm-keeps-an-altered-policy", "TP/DSSM/DSPM/BI-02", submitPolicy, ErrorReason.SIGNATURE_INVALID, newPolicy],
  ["dspm-keeps-an-altered-update", "TP/DSSM/DSPM/BI-22", updatePolicy, ErrorReason.SIGNATURE_INVALID, policy],
  ["dspm-ends-by-an-altered-withdrawal", "TP/DSSM/DSPM/BI-42", withdrawPolicy, ErrorReason.SIGNATURE_INVALID, policy],
  ["dsam-debits-an-altered-request", "TP/DSSM/DSAM/BI-01", requestAccess, ErrorReason.SIGNATURE_INVALID, usage],
  ["dsam-debits-a-foreign-request", "TP/DSSM/DSAM/BI-18", requestAccess, ErrorReason.SIGNER_NOT_CALLER, usage],
  ["dsam-keeps-an-altered-report", "TP/DSSM/DSAM/BI-32", reportUsage, ErrorReason.SIGNATURE_INVALID, usage],
  ["dsam-records-one-access-more", "TP/DSSM/DSAM/BO-01", requestAccess, ErrorReason.ACCESS_TIMES_EXHAUSTED, usage],
  ["dsam-notes-for-another-consumer", "TP/DSSM/DSAM/BO-06", updateAccessRecord, ErrorReason.ACCESS_RECORD_NOT_FOUND, record],
  ["dsam-reports-for-another-consumer", "TP/DSSM/DSAM/BO-06", reportUsage, ErrorReason.ACCESS_RECORD_NOT_FOUND, usage],
  ["dsam-keeps-a-report-of-tomorrow", "TP/DSSM/DSAM/BI-94", reportUsage, ErrorReason.USAGE_INVALID, usage],
  ["dsam-keeps-a-long-note", "TP/DSSM/DSAM/BI-91", updateAccessRecord, { field: "note" }, record],
];

/** Whether the call is one that access control or the rules of the message refuse; the mutant has them skipped. */
function isWrong(refused: Row[3], input: unknown, context: HandlerContext): boolean {
  if (typeof refused !== "object") return false;
  return "caller" in refused
    ? context.values.get(peerKey).identity.startsWith(refused.caller)
    : String((input as Record<string, unknown>)[refused.field]).length > 1024;
}

function mutantOf([id, foundBy, method, refused, [shownBy, shown]]: Row): Mutant {
  const door = foundBy.split("/")[1]?.toLowerCase() as EntityRole;
  let done = false;
  const change: Alteration["wrap"] = (original) => async (input, context) => {
    if (isWrong(refused, input, context)) {
      done = true;
      throw "caller" in Object(refused)
        ? refusal(ErrorReason.CALLER_NOT_ALLOWED)
        : refusal(ErrorReason.REQUEST_INVALID, (refused as { field: string }).field);
    }
    try {
      return await original(input, context);
    } catch (cause) {
      done ||= cause instanceof ConnectError && reasonOf(cause) === refused;
      throw cause;
    }
  };
  const read: Alteration["wrap"] = (original) => async (input, context) => {
    const answer = async () => original(input, context);
    return done ? shown(answer) : answer();
  };
  return {
    id,
    clause: "7.2.5",
    breaks: `${method.name} is refused, and done all the same: ${id}`,
    foundBy: [foundBy],
    alterations:
      shownBy === method
        ? [{ method, wrap: (original) => read(change(original)) }]
        : [
            { method, wrap: change },
            { method: shownBy, wrap: read },
          ],
    ...(typeof refused === "object" && {
      skips: { what: "caller" in refused ? "callers" : "rules", door, methods: [method] },
    }),
  };
}

export const hiddenEffectMutants: readonly Mutant[] = rows.map(mutantOf);
