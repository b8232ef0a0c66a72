// A small suite that covers all that a key storage server may claim, and reports of it that follow from their results.
import { conclude } from "../conclusion.ts";
import { allBut, proforma, staticReview } from "../pics.ts";
import { type Purpose, purpose } from "../purposes/purpose.ts";
import { expectationText } from "../refusal.ts";
import { conformantReport } from "../report/report.fixture.ts";
import type { Report } from "../report/report.ts";
import { select, statusOf } from "../selection.ts";
import { suiteHash } from "../suite.ts";
import type { Verdict } from "../verdict.ts";

const items = (kind: string) =>
  proforma("kss")
    .filter((one) => one.kind === kind)
    .map(({ item }) => item);

const common = { clause: "6.2.3", initialState: "none", stimulus: "everything", run: async () => {} } as const;

export const smallSuite: readonly Purpose[] = [
  purpose({
    ...common,
    id: "TP/KSS/KSM/CA-01",
    title: "has everything",
    expected: "it is there",
    capabilities: items("capability"),
    steps: items("step"),
    methods: items("method"),
    requires: items("feature"),
  }),
  purpose({ ...common, id: "TP/KSS/KSM/BV-01", title: "does something", expected: "it is done" }),
  purpose({ ...common, id: "TP/DSS/DSM/BV-01", title: "is of another entity", expected: "it is done" }),
];

export const implementation = "sample 1";

/** @param verdict of the second purpose */
export function smallReport(verdict: Verdict = "PASS"): Report {
  const pics = allBut("kss", implementation, new Set());
  const situation = { underTest: new Set(["kss"] as const), harness: true, pics: new Map([["kss", pics] as const]) };
  const selection = select(smallSuite, situation, {});
  const sample = conformantReport();
  const [model] = sample.results;
  if (model === undefined) throw new Error("the sample is empty");
  const results = selection.selected.map((one) => ({
    ...model,
    ...{ id: one.id, entity: one.entity, component: one.component, kind: one.kind, title: one.title },
    ...{ clause: one.clause, status: statusOf(one), steps: one.steps, capabilities: one.capabilities },
    expected: expectationText(one.expected),
    verdict: one.id.endsWith("BV-01") ? verdict : ("PASS" as const),
    procedure: [],
  }));
  const findings = staticReview(pics);
  const evidence = { selection, results, findings, untested: [], filtered: false, expected: new Map() };
  return {
    ...sample,
    target: { name: "sample", entities: sample.target.entities.filter(({ role }) => role === "kss") },
    suite: { ...sample.suite, hash: suiteHash(smallSuite), purposes: smallSuite.length },
    statements: [
      {
        entity: "kss",
        implementation,
        supported: proforma("kss").map(({ item }) => item),
        unsupported: [],
        given: true,
      },
    ],
    results,
    notApplicable: selection.notApplicable,
    ...conclude(evidence),
  };
}
