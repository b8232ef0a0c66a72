// Access and usage records (DSAM7, UR2; clauses 6.2.2 and 7.2.4) of a data-sharing service management.
import { equals } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { AccessRecordSchema, UsageKind, UsageReportSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { accessOnLedger } from "../procedures/ledger-evidence.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRecent } from "../procedures/recent-time.ts";
import { expectRefusal } from "../refusal.ts";
import type { DataConsumer } from "../roles/data-consumer.ts";
import type { User } from "../roles/user.ts";
import { sharedData } from "./dssm-shared-data.ts";
import { grantedAccess, refusedUse } from "./dssm-signed-requests.ts";
import { type MalformedField, malformedField, notIds } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const accesses = (user: User) => user.client(DataSharingAccessService, "dssm");
const managed = { clause: "6.2.2", capabilities: ["DSAM7", "C9"] } as const;

const malformed: readonly MalformedField[] = [
  {
    id: "TP/DSSM/DSAM/BI-90",
    method: "DataSharingAccessService/GetAccessRecord",
    field: "access_id",
    holds: "a path that leads elsewhere",
    likelyMistake: "ids are used as given, as keys of the store",
    async requests(t) {
      const { record } = await grantedAccess(t);
      const get = (accessId: string) => accesses(t.consumer).getAccessRecord({ accessId }, t.consumer.inSession);
      return { right: () => get(record?.accessId ?? ""), wrong: () => get(notIds.traversal) };
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-91",
    method: "DataSharingAccessService/UpdateAccessRecord",
    field: "note",
    holds: "1025 characters",
    likelyMistake: "notes are kept at any length, at the management's cost",
    async requests(t) {
      const { record } = await grantedAccess(t);
      const accessId = record?.accessId ?? "";
      const note = (length: number) =>
        accesses(t.consumer).updateAccessRecord({ accessId, note: "x".repeat(length) }, t.consumer.inSession);
      const state = () => accesses(t.consumer).getAccessRecord({ accessId }, t.consumer.inSession);
      return { right: () => note(1024), wrong: () => note(1025), state };
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-92",
    method: "DataSharingAccessService/ListAccessRecords",
    field: "page_token",
    holds: "no token that a page ended with",
    likelyMistake: "a token that does not parse is taken for the beginning: a client loops for ever",
    async requests(t) {
      const consumer = await t.inSession(t.consumer);
      const list = (pageToken: string) =>
        accesses(consumer).listAccessRecords({ pageSize: 1, pageToken }, consumer.inSession);
      return { right: () => list(""), wrong: () => list("not/a/token") };
    },
  },
  {
    id: "TP/DSSM/DSAM/BI-93",
    method: "DataSharingAccessService/ListUsageRecords",
    field: "contract_address",
    holds: "the address of a package",
    likelyMistake: "an address that is none is answered with an empty list",
    async requests(t) {
      const { contractAddress, stored } = await sharedData(t, { accessTimes: 1, readOnly: true });
      const list = (address: string) =>
        accesses(t.consumer).listUsageRecords({ contractAddress: address }, t.consumer.inSession);
      return { right: () => list(contractAddress), wrong: () => list(stored.address) };
    },
  },
];

export const accessRecordPurposes: readonly Purpose[] = [
  purpose({
    id: "TP/DSSM/DSAM/BO-05",
    title: "takes no report of an end before one of a beginning, and none of a second beginning",
    clause: "7.2.4",
    steps: ["F4.18"],
    capabilities: ["UR2"],
    methods: ["DataSharingAccessService/ReportUsage"],
    initialState: "an access granted",
    stimulus: "ReportUsage CLOSED; OPENED; OPENED again; CLOSED; CLOSED again",
    expected: { reason: ErrorReason.USAGE_INVALID },
    twin: "ReportUsage OPENED, then CLOSED",
    likelyMistake: "reports are stored as they come: one grant shows any number of openings",
    async run(t) {
      const { record } = await grantedAccess(t);
      const accessId = record?.accessId ?? "";
      const report = (kind: UsageKind) => t.consumer.reportUsage(accessId, kind, "by the kit");
      await expectRefusal(() => report(UsageKind.CLOSED), ErrorReason.USAGE_INVALID);
      await t.positiveTwin("opened", () => report(UsageKind.OPENED));
      await t.expectRefusal(() => report(UsageKind.OPENED));
      await t.positiveTwin("closed", () => report(UsageKind.CLOSED));
      await t.expectRefusal(() => report(UsageKind.CLOSED));
    },
  }),
  purpose({
    id: "TP/DSSM/DSAM/BO-06",
    title: "answers another consumer's access like one that does not exist",
    clause: "6.2.2",
    capabilities: ["DSAM7", "C9"],
    methods: [
      "DataSharingAccessService/GetAccessRecord",
      "DataSharingAccessService/UpdateAccessRecord",
      "DataSharingAccessService/ReportUsage",
    ],
    initialState: "an access granted to a consumer",
    stimulus: "GetAccessRecord, UpdateAccessRecord and ReportUsage by another consumer",
    expected: { reason: ErrorReason.ACCESS_RECORD_NOT_FOUND },
    twin: "GetAccessRecord by the consumer itself",
    likelyMistake: "access ids are secrets enough; whoever has one reads and changes the record",
    async run(t) {
      const { record } = await grantedAccess(t);
      const { accessId = "", contractAddress = "" } = record ?? {};
      const get = (user: DataConsumer) => accesses(user).getAccessRecord({ accessId }, user.inSession);
      await t.positiveTwin("the consumer itself", () => get(t.consumer));
      const other = await t.inSession(t.secondConsumer);
      const note = { accessId, note: "not mine", archived: true };
      const both = () => Promise.all([get(t.consumer), t.provider.usageOf(contractAddress)]);
      await leavingUnchanged("the record and its usage", both, async () => {
        await t.expectRefusal(() => get(other));
        await t.expectRefusal(() => accesses(other).updateAccessRecord(note, other.inSession));
        await t.expectRefusal(() => other.reportUsage(accessId, UsageKind.OPENED, "not mine"));
      });
    },
  }),
  ...malformed.map((row) => malformedField(row, { clause: "6.2.2", capabilities: ["DSAM7"] })),
  purpose({
    ...managed,
    id: "TP/DSSM/DSAM/BV-08",
    title: "shows a consumer its access, with evidence that it is on the ledger",
    capabilities: ["DSAM2", "DSAM7", "C9", "S4"],
    methods: ["DataSharingAccessService/GetAccessRecord"],
    initialState: "two accesses granted",
    stimulus: "GetAccessRecord of each",
    expected: "the record as answered by RequestAccess, and a proof and openings of this very access",
    likelyMistake: "the record is written when it is asked for, its times and numbers new",
    async run(t) {
      const beganMs = Date.now();
      const { found } = await sharedData(t, { accessTimes: 2, readOnly: true });
      const asked = [1, 2].map(() => ({ ...t.consumer.accessRequest(found), purpose: t.freshName("purpose") }));
      const requests = asked.map((each) => t.consumer.signRequest(each));
      const grants = [];
      for (const request of requests) grants.push({ request, ...(await t.consumer.requestAccess(request)) });
      for (const [index, { request, record: granted }] of grants.entries()) {
        const accessId = granted?.accessId ?? "";
        const answer = await accesses(t.consumer).getAccessRecord({ accessId }, t.consumer.inSession);
        const { record } = answer;
        expect(record?.accessId === accessId && record.accessNumber === index + 1, `the access, number ${index + 1}`);
        expect(record.consumerIdentity === t.consumer.identity, "the consumer");
        expect(record.contractAddress === found.contractAddress, "the contract");
        expect(record.purpose === asked[index]?.purpose, "the purpose that the consumer stated");
        expectRecent(record.accessedAt, "accessed_at", beganMs);
        accessOnLedger(answer, request, t.consumer.identity, t.trust);
        expect(
          granted !== undefined && equals(AccessRecordSchema, record, granted),
          "the record as answered by RequestAccess",
        );
      }
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSAM/BV-09",
    title: "keeps a consumer's note, and puts a record aside without losing it",
    methods: ["DataSharingAccessService/UpdateAccessRecord", "DataSharingAccessService/ListAccessRecords"],
    initialState: "an access granted",
    stimulus: "UpdateAccessRecord with a note, archived; ListAccessRecords of the contract without and with archived",
    expected: "the note; left out of the one list, and in the other",
    likelyMistake: "archiving deletes the record, though the ledger refers to it",
    async run(t) {
      const { record } = await grantedAccess(t);
      const { accessId = "", contractAddress = "" } = record ?? {};
      const { inSession } = t.consumer;
      const changed = await accesses(t.consumer).updateAccessRecord(
        { accessId, note: "for the report", archived: true },
        inSession,
      );
      expect(changed.record?.note === "for the report" && changed.record.archived, "the note, archived");
      const list = async (includeArchived: boolean) =>
        (await accesses(t.consumer).listAccessRecords({ contractAddress, includeArchived }, inSession)).records;
      expect((await list(false)).length === 0, "left out of the list without archived records");
      const [kept] = await list(true);
      expect(kept?.accessId === accessId && kept.note === "for the report", "kept, with its note, in the other");
    },
  }),
  purpose({
    ...managed,
    id: "TP/DSSM/DSAM/BV-10",
    title: "lists a consumer's accesses oldest first, each once, and none of others",
    methods: ["DataSharingAccessService/ListAccessRecords"],
    initialState: "three accesses of a consumer and one of another to one contract",
    stimulus: "ListAccessRecords of the contract in pages of two",
    expected: "the three in the order of their numbers, two a page at most",
    likelyMistake: "records are listed by contract: consumers see one another",
    async run(t) {
      const { found, contractAddress } = await sharedData(t, { accessTimes: 3, readOnly: true });
      const other = await t.inSession(t.secondConsumer);
      await other.requestAccess(other.signRequest(other.accessRequest(found)));
      for (let count = 0; count < 3; count++)
        await t.consumer.requestAccess(t.consumer.signRequest(t.consumer.accessRequest(found)));
      const numbers: number[] = [];
      let pageToken = "";
      do {
        const page = await accesses(t.consumer).listAccessRecords(
          { contractAddress, pageSize: 2, pageToken },
          t.consumer.inSession,
        );
        expect(page.records.length <= 2, "two records a page at most");
        expect(
          page.records.every(({ consumerIdentity }) => consumerIdentity === t.consumer.identity),
          "the consumer's own records",
        );
        numbers.push(...page.records.map(({ accessNumber }) => accessNumber));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(numbers.join() === "1,2,3", `accesses 1, 2 and 3 (got ${numbers.join(", ")})`);
    },
  }),
  purpose({
    id: "TP/DSSM/DSAM/BV-11",
    title: "shows usage to the provider of the data, and to each consumer its own",
    clause: "7.2.4",
    steps: ["F4.11", "F4.18"],
    capabilities: ["UR1", "UR2"],
    methods: ["DataSharingAccessService/ListUsageRecords", "DataSharingAccessService/ReportUsage"],
    initialState: "accesses of two consumers to one contract, the first of which reports an opening",
    stimulus: "ListUsageRecords by the provider, by each consumer, and by a stranger",
    expected:
      "GRANTED, GRANTED, OPENED to the provider, each with its access and its times; to each consumer its own; nothing to the stranger",
    likelyMistake: "usage is shown to whoever knows the contract's address",
    async run(t) {
      const beganMs = Date.now();
      const { found, contractAddress } = await sharedData(t, { accessTimes: 1, readOnly: true });
      const second = await t.inSession(t.secondConsumer);
      const grant = await t.consumer.requestAccess(t.consumer.signRequest(t.consumer.accessRequest(found)));
      await second.requestAccess(second.signRequest(second.accessRequest(found)));
      await t.consumer.reportUsage(grant.record?.accessId ?? "", UsageKind.OPENED, "shown");
      const usage = async (user: User) =>
        (await accesses(user).listUsageRecords({ contractAddress }, user.inSession)).records;
      const told = await usage(t.provider);
      const kinds = told.map(({ kind }) => kind);
      const { GRANTED, OPENED } = UsageKind;
      expect(kinds.join() === [GRANTED, GRANTED, OPENED].join(), "GRANTED, GRANTED and OPENED to the provider");
      for (const record of told) {
        expect(record.contractAddress === contractAddress, "usage of this contract");
        expectRecent(record.occurredAt, "occurred_at", beganMs);
        expectRecent(record.recordedAt, "recorded_at", beganMs);
      }
      const opened = told[2];
      expect(opened?.accessId === grant.record?.accessId && opened?.remark === "shown", "the opening as reported");
      const own = await usage(second);
      expect(own.length === 1 && own[0]?.consumerIdentity === second.identity, "its own grant to the second consumer");
      const stranger = await t.inSession(t.secondProvider);
      expect((await usage(stranger)).length === 0, "nothing to a stranger");
    },
  }),
  purpose({
    id: "TP/DSSM/DSAM/BI-94",
    title: "takes no report of a use that lies before the access or in the future",
    clause: "7.2.4",
    steps: ["F4.18"],
    capabilities: ["UR2"],
    methods: ["DataSharingAccessService/ReportUsage"],
    initialState: "an access granted",
    stimulus: "ReportUsage that occurred an hour before the access; an hour ahead",
    expected: { reason: ErrorReason.USAGE_INVALID },
    twin: "ReportUsage that occurred now",
    likelyMistake: "the time is recorded as reported",
    async run(t) {
      const { record } = await grantedAccess(t);
      const { accessId = "", contractAddress = "" } = record ?? {};
      const report = (shiftMs: number) => {
        const message = refusedUse(t.consumer, accessId);
        message.occurredAt = timestampFromDate(new Date(Date.now() + shiftMs));
        const signed = signMessage(t.consumer.signer, UsageReportSchema, message);
        return accesses(t.consumer).reportUsage({ report: signed }, t.consumer.inSession);
      };
      await t.positiveTwin("now", () => report(0));
      await leavingUnchanged(
        "the usage of the data",
        () => t.provider.usageOf(contractAddress),
        async () => {
          for (const shift of [-3_600_000, 3_600_000]) await t.expectRefusal(() => report(shift));
        },
      );
    },
  }),
];
