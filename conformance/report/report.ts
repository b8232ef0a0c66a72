// The report of a campaign: one object, from which console, JSON, JUnit XML and HTML are all made, so that they agree.

import type { Status } from "../catalogue.ts";
import type { LoggedCall } from "../message-log.ts";
import type { Finding } from "../pics.ts";
import type { Visibility } from "../procedures/procedure.ts";
import type { Arrow } from "../purposes/purpose.ts";
import type { PurposeKind } from "../purposes/purpose-kind.ts";
import type { Omitted } from "../selection.ts";
import type { TestedRole } from "../target.ts";
import type { Verdict } from "../verdict.ts";

/** Changes when a member is removed or means something else. */
export const reportFormat = "x1410-conformance-report/1";

/**
 * What may be said of the implementation. `conformant`: every item claimed was tested and every purpose passed. `partial`: all that was
 * performed passed, but not everything was performed. Only the first is a claim.
 */
export type Conformance = "conformant" | "partial" | "inconclusive" | "non-conformant" | "undetermined";

export interface Report {
  readonly format: typeof reportFormat;
  readonly kit: { readonly version: string };
  readonly suite: {
    readonly version: string;
    readonly hash: string;
    readonly recommendation: string;
    readonly profile: string;
    readonly purposes: number;
    /** Digest of the frozen list of purposes that the suite is; "" where it is none. */
    readonly frozen: string;
  };
  readonly target: ReportedTarget;
  readonly run: {
    readonly startedAt: string;
    readonly durationMs: number;
    readonly client: string;
    readonly seed: string;
    readonly parallel: number;
    readonly filtered: boolean;
    /** Why it ended before its time, such as by the death of the implementation; absent where it did not. */
    readonly ended?: string;
  };
  /** Of what was performed, in the order of ISO/IEC 9646; null where nothing was. */
  readonly verdict: Verdict | null;
  readonly conformance: Conformance;
  /** Why it is not `conformant`; empty where it is. */
  readonly reasons: readonly string[];
  readonly exitCode: number;
  readonly staticReview: readonly Finding[];
  readonly statements: readonly ReportedStatement[];
  readonly results: readonly ReportedPurpose[];
  readonly notApplicable: readonly Omitted[];
  readonly outOfReach: readonly Omitted[];
  readonly filteredOut: readonly string[];
  /** Claimed items that no performed purpose tests. */
  readonly untested: readonly string[];
  readonly expectedFailures: { readonly met: readonly string[]; readonly stale: readonly string[] };
  /** What could not be taken away from the target. */
  readonly leftBehind: readonly string[];
}

export interface ReportedTarget {
  readonly name: string;
  readonly entities: readonly ReportedEntity[];
  /** Of a user's side: templates of its commands, by name. */
  readonly commands?: readonly { readonly name: string; readonly template: string }[];
}

/** An entity under test and what its TLS showed. */
export interface ReportedEntity {
  readonly role: TestedRole;
  readonly endpoint: string;
  readonly identity: string;
  readonly reached: boolean;
  /** Facts of the handshake; "" where it was not reached. */
  readonly protocol: string;
  readonly cipher: string;
  readonly certificateSha256: string;
  /** Why it was not reached. */
  readonly problem: string;
}

export interface ReportedStatement {
  readonly entity: TestedRole;
  readonly implementation: string;
  readonly supported: readonly string[];
  readonly unsupported: readonly string[];
  /** False where none was given, and all that is mandatory is taken for claimed. */
  readonly given: boolean;
}

export interface ReportedPurpose {
  readonly id: string;
  readonly entity: string;
  readonly component: string;
  readonly kind: PurposeKind;
  readonly status: Status;
  readonly title: string;
  readonly clause: string;
  readonly steps: readonly string[];
  readonly capabilities: readonly string[];
  readonly methods: readonly string[];
  readonly initialState: string;
  readonly stimulus: string;
  readonly twin: string;
  readonly diagram: readonly Arrow[];
  readonly likelyMistake: string;
  readonly verdict: Verdict;
  readonly expected: string;
  readonly actual: string;
  readonly seen: readonly string[];
  readonly durationMs: number;
  /** One line for a shell that performs this purpose alone. */
  readonly reproduce: string;
  readonly procedure: readonly ReportedStep[];
  readonly messages: readonly LoggedCall[];
}

/** A step of a replayed procedure. */
export interface ReportedStep {
  readonly id: string;
  readonly arrow: string;
  readonly what: string;
  readonly visibility: Visibility;
  readonly verdict: Verdict | null;
  readonly seen: string;
  readonly durationMs: number;
}
