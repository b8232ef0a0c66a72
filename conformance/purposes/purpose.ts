// A test purpose (ISO/IEC 9646-1): what one check is for, in data, so that it can be listed, selected, explained, hashed and reported
// without being run, and the check itself.
import type { Code } from "@connectrpc/connect";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { type ExpectedRefusal, expectationText, refusalFor } from "../refusal.ts";
import type { EntityRole, TestedRole } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import type { PurposeEntity, PurposeKind } from "./purpose-kind.ts";

/** e.g. "TP/KSS/TV/BI-03": entity, component after the catalogue, kind, number of two digits or more. */
export type PurposeId = `TP/${PurposeEntity}/${string}/${PurposeKind}-${string}`;

/** What must come: a refusal by its reason (its code follows from it), a bare code that gRPC libraries give, or a sentence. */
export type Expected = { readonly reason: ErrorReason } | { readonly code: Code } | string;

/** One arrow of the sequence diagram. Where both ends are one, it happens inside that party. */
export type Arrow = readonly [from: string, to: string, text: string];

export interface PurposeSpec {
  readonly id: PurposeId;
  /** What is shown, as a sentence without a subject before it: "refuses a token of another key storage server". */
  readonly title: string;
  readonly clause: string;
  /** Steps of the procedures that it shows, ids of the catalogue. */
  readonly steps?: readonly string[];
  /** Capabilities that it shows, ids of the catalogue. */
  readonly capabilities?: readonly string[];
  /** Methods that it calls for its verdict, "KeyStorageService/GetKey". */
  readonly methods?: readonly string[];
  /** Further items of the PICS that must be claimed, e.g. an optional feature. */
  readonly requires?: readonly string[];
  /** Items of the PICS that must not be claimed: it shows that what is stated as not there is not there. */
  readonly forbids?: readonly string[];
  /** Peers that the kit must play, or be registered beside, for this purpose. */
  readonly tester?: readonly EntityRole[];
  /** Entities that must be under test, or played by the kit well enough; default: the entity of the id. */
  readonly involves?: readonly TestedRole[];
  /** Of a user's side: the commands that it must have, by their names in the target file. */
  readonly commands?: readonly string[];
  readonly initialState: string;
  readonly stimulus: string;
  readonly expected: Expected;
  /** The same request with the one wrong thing right. Every refusal needs it. */
  readonly twin?: string;
  /** Arrows of the diagram; left out, they follow from stimulus, methods and expectation. */
  readonly diagram?: readonly Arrow[];
  /** What an implementer who fails here has most likely done wrong. */
  readonly likelyMistake?: string;
  /** Seconds that it may take; default 20. */
  readonly budgetSeconds?: number;
  readonly run: (t: TestCase) => Promise<void>;
}

export interface Purpose
  extends Required<Omit<PurposeSpec, "twin" | "likelyMistake" | "expected">>,
    Pick<PurposeSpec, "twin" | "likelyMistake"> {
  readonly entity: PurposeEntity;
  /** Id of the catalogue's component. */
  readonly component: string;
  readonly kind: PurposeKind;
  readonly expected: ExpectedRefusal | string;
}

const form = /^TP\/(DSSM|KSS|DSS|DP|DC|ALL)\/([A-Z0-9]+)\/(CA|BV|BI|BO)-(\d{2,3})$/;

/** @throws TypeError where the id has another form, or a refusal is expected and no positive twin is named */
export function purpose(spec: PurposeSpec): Purpose {
  const match = form.exec(spec.id);
  if (match === null) throw new TypeError(`${spec.id} is no id of a test purpose`);
  const [, entity, component, kind] = match as unknown as [string, PurposeEntity, string, PurposeKind];
  const { expected, likelyMistake, twin } = spec;
  if (typeof expected !== "string" && twin === undefined)
    throw new TypeError(`${spec.id} expects a refusal and names no positive twin`);
  const under = entityRoleOf(entity);
  const methods = spec.methods ?? [];
  return {
    ...spec,
    entity,
    component: component === "API" ? `${entity}/API` : component,
    kind,
    steps: spec.steps ?? [],
    capabilities: spec.capabilities ?? [],
    methods,
    requires: spec.requires ?? [],
    forbids: spec.forbids ?? [],
    tester: spec.tester ?? [],
    commands: spec.commands ?? [],
    involves: spec.involves ?? (under === undefined ? [] : [under]),
    expected: normalized(expected),
    diagram: spec.diagram ?? [
      ["tester", entity, [methods.at(-1)?.split("/")[1], spec.stimulus].filter(Boolean).join(": ")],
      [entity, "tester", expectationText(normalized(expected))],
    ],
    budgetSeconds: spec.budgetSeconds ?? 20,
    ...(twin !== undefined && { twin }),
    ...(likelyMistake !== undefined && { likelyMistake }),
  };
}

/** The role under test, where it is one. */
export function entityRoleOf(entity: PurposeEntity): TestedRole | undefined {
  return {
    DSSM: "dssm" as const,
    KSS: "kss" as const,
    DSS: "dss" as const,
    DP: "dp" as const,
    DC: "dc" as const,
    ALL: undefined,
  }[entity];
}

function normalized(expected: Expected): ExpectedRefusal | string {
  if (typeof expected === "string") return expected;
  return "code" in expected ? { code: expected.code, reason: undefined } : refusalFor(expected.reason);
}
