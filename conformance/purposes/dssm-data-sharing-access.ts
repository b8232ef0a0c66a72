// Data-sharing access management (DSAM, clauses 6.2.2 and 7.2.4) of a data-sharing service management.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { withBitFlipped } from "../mutation.ts";
import { expect } from "../procedures/procedure.ts";
import { sharedData } from "./dssm-shared-data.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const requestAccess = ["DataSharingAccessService/RequestAccess"];

export const dataSharingAccessPurposes: readonly Purpose[] = [
  purpose({
    id: "TP/DSSM/DSAM/BV-01",
    title: "answers an identical request with the first answer: one record, one token",
    clause: "7.3.2",
    steps: ["F4.3", "F4.4", "F4.5", "F4.11"],
    capabilities: ["DSAM1", "DSAM3", "DSAM4", "DSAM6"],
    methods: requestAccess,
    initialState: "data shared with one access",
    stimulus: "RequestAccess twice with the same signed bytes",
    expected: "the same access id both times, though the permission allows one access",
    likelyMistake: "a repeated request debits the permission again, so that a lost answer costs an access",
    async run(t) {
      const { found } = await sharedData(t, { accessTimes: 1, readOnly: true });
      const request = t.consumer.signRequest(t.consumer.accessRequest(found));
      const first = await t.consumer.requestAccess(request);
      const again = await t.consumer.requestAccess(request);
      expect(first.record !== undefined, "an access record");
      expect(again.record?.accessId === first.record.accessId, "the same access for the same bytes");
      t.seen(`access ${first.record.accessId}, both times`);
    },
  }),
  purpose({
    id: "TP/DSSM/DSAM/BI-01",
    title: "refuses an access request whose signature does not fit",
    clause: "7.3.2",
    steps: ["F4.3", "F4.4", "A2.3", "A2.4"],
    capabilities: ["DSAM1"],
    methods: requestAccess,
    initialState: "data shared with two accesses",
    stimulus: "RequestAccess with one bit of the payload flipped",
    expected: { reason: ErrorReason.SIGNATURE_INVALID },
    twin: "RequestAccess with the payload as signed",
    likelyMistake: "the payload is parsed and serialised again before it is verified, or not verified at all",
    async run(t) {
      const { found } = await sharedData(t, { accessTimes: 2, readOnly: true });
      const request = t.consumer.signRequest(t.consumer.accessRequest(found));
      await t.positiveTwin("the request as signed", () => t.consumer.requestAccess(request));
      await leavingUnchanged(
        "the usage of the data",
        () => t.provider.usageOf(found.contractAddress),
        () => t.expectRefusal(() => t.consumer.requestAccess(withBitFlipped(request))),
      );
    },
  }),
  purpose({
    id: "TP/DSSM/DSAM/BO-01",
    title: "refuses the access after the last that the permission allows",
    clause: "7.2.1",
    steps: ["F4.4", "F4.9"],
    capabilities: ["DSAM1", "APM5"],
    methods: requestAccess,
    initialState: "data shared with one access",
    stimulus: "RequestAccess a second time, newly signed",
    expected: { reason: ErrorReason.ACCESS_TIMES_EXHAUSTED },
    twin: "the first RequestAccess",
    likelyMistake: "access times are stored and never counted down",
    async run(t) {
      const { found } = await sharedData(t, { accessTimes: 1, readOnly: false });
      const request = () => t.consumer.signRequest(t.consumer.accessRequest(found));
      await t.positiveTwin("the first access", () => t.consumer.requestAccess(request()));
      await leavingUnchanged(
        "the usage of the data",
        () => t.provider.usageOf(found.contractAddress),
        () => t.expectRefusal(() => t.consumer.requestAccess(request())),
      );
    },
  }),
];
