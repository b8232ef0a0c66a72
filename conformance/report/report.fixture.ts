// A report with everything that a report can have, made from the suite without a target: for tests of the formats.

import { STEPS } from "../catalogue.ts";
import { expectationText } from "../refusal.ts";
import { statusOf } from "../selection.ts";
import { profile, purposes, recommendation, suiteHash, suiteVersion } from "../suite.ts";
import type { Verdict } from "../verdict.ts";
import { type Report, type ReportedPurpose, reportFormat } from "./report.ts";

/** What an implementation may put into a text: markup, quotes, line ends, controls, half a surrogate pair. */
export const hostileText = "</script><script>alert(\"1\")</script> & 'q' ]]> \u0000\u0001\u001b\u007f\ud800 \r\n\tend";

const cycle: readonly Verdict[] = ["PASS", "PASS", "FAIL", "PASS", "INCONC", "PASS", "ERROR"];

function result(index: number, verdict: Verdict): ReportedPurpose {
  const purpose = purposes[index];
  if (purpose === undefined) throw new RangeError(`the suite has no purpose ${index}`);
  const { id, entity, component, kind, title, clause, steps, capabilities, methods, initialState, stimulus } = purpose;
  const replays = entity === "ALL";
  return {
    id,
    entity,
    component,
    kind,
    status: statusOf(purpose),
    title,
    clause,
    steps,
    capabilities,
    methods,
    initialState,
    stimulus,
    twin: purpose.twin ?? "",
    diagram: purpose.diagram,
    likelyMistake: purpose.likelyMistake ?? "",
    verdict,
    expected: expectationText(purpose.expected),
    actual: verdict === "PASS" ? "" : `not so: ${hostileText}`,
    seen: ["positive twin: the same, right"],
    durationMs: 12.34,
    reproduce: `npx x1410 conformance run --id ${id} --client grpc --seed 1410`,
    procedure: replays
      ? STEPS.filter((step) => step.procedure === component).map((step, place) => ({
          id: step.id,
          arrow: step.arrow,
          what: step.what,
          visibility: step.kind === "internal" ? (place % 3 === 0 ? "unobservable" : "consequence") : "observed",
          verdict: step.kind === "internal" && place % 3 === 0 ? null : place === 7 ? verdict : "PASS",
          seen: place === 7 ? hostileText : "as the figure has it",
          durationMs: 3.2,
        }))
      : [],
    messages: methods.map((method) => ({
      from: "urn:x1410:user:kit-consumer",
      to: "kss",
      method,
      atMs: 1,
      durationMs: 4.5,
      requests: [{ key_id: "0a", access_token: "[redacted]", note: hostileText }],
      responses: verdict === "PASS" ? [{ key: "[redacted]" }] : [],
      requestCount: 1,
      responseCount: verdict === "PASS" ? 1 : 0,
      code: verdict === "PASS" ? "OK" : "PERMISSION_DENIED",
      reason: verdict === "PASS" ? "" : "TOKEN_INVALID",
    })),
  };
}

/** All verdicts; the first purposes of single entities are not applicable, out of reach and filtered out. */
export function sampleReport(changes: Partial<Report> = {}): Report {
  const [notApplicable, outOfReach, filteredOut] = purposes
    .filter(({ entity }) => entity !== "ALL")
    .map(({ id }) => id);
  const omitted: readonly (string | undefined)[] = [notApplicable, outOfReach, filteredOut];
  const results = purposes
    .map((_, index) => result(index, cycle[index % cycle.length] ?? "PASS"))
    .filter(({ id }) => !omitted.includes(id));
  return {
    format: reportFormat,
    kit: { version: "0.1.0" },
    suite: { version: suiteVersion, hash: suiteHash(), recommendation, profile, purposes: purposes.length, frozen: "" },
    target: {
      name: `sample ${hostileText}`,
      entities: (["dssm", "kss", "dss"] as const).map((role, index) => ({
        role,
        endpoint: `127.0.0.1:741${index}`,
        identity: `urn:x1410:entity:${role}:main`,
        reached: true,
        protocol: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        certificateSha256: `${index}`.repeat(64),
        problem: "",
      })),
    },
    run: {
      startedAt: "2026-03-02T10:11:12.345Z",
      durationMs: 45_678,
      client: "grpc",
      seed: "1410",
      parallel: 4,
      filtered: true,
    },
    verdict: "ERROR",
    conformance: "undetermined",
    reasons: ["faults of the kit"],
    exitCode: 3,
    staticReview: [{ entity: "kss", item: "TV2", clause: "6.2.3", text: "mandatory, and stated as not supported" }],
    statements: [{ entity: "kss", implementation: "sample 1", supported: ["TV1"], unsupported: ["TV2"], given: true }],
    results,
    notApplicable: [{ id: notApplicable ?? "", reason: "the dss is not under test" }],
    outOfReach: [{ id: outOfReach ?? "", reason: "needs the kit as a further dssm" }],
    filteredOut: [filteredOut ?? ""],
    untested: ["DD1"],
    expectedFailures: { met: [], stale: [] },
    leftBehind: [],
    ...changes,
  };
}

/** Everything passed. */
export function conformantReport(changes: Partial<Report> = {}): Report {
  return sampleReport({
    target: { ...sampleReport().target, name: "sample" },
    results: purposes.map((_, index) => result(index, "PASS")),
    run: { ...sampleReport().run, filtered: false },
    verdict: "PASS",
    conformance: "conformant",
    reasons: [],
    exitCode: 0,
    staticReview: [],
    statements: [],
    notApplicable: [],
    outOfReach: [],
    filteredOut: [],
    untested: [],
    ...changes,
  });
}
