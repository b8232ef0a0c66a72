// Which purposes a campaign performs, and why the others are not among them: by the statement of the supplier, by what the target and
// the harness allow, and by the filters of whoever runs it.

import type { Status } from "./catalogue.ts";
import { showsMethods } from "./method-behaviour.ts";
import { type Pics, type PicsItem, proforma } from "./pics.ts";
import { weaker } from "./protocol.ts";
import type { Purpose } from "./purposes/purpose.ts";
import type { PurposeKind } from "./purposes/purpose-kind.ts";
import { type TestedRole, testedRoles } from "./target.ts";

export interface Filters {
  /** Glob patterns over ids: `*` is any run of characters. */
  readonly ids?: readonly string[];
  readonly entities?: readonly string[];
  readonly clauses?: readonly string[];
  readonly steps?: readonly string[];
  readonly statuses?: readonly Status[];
  readonly kinds?: readonly PurposeKind[];
}

export interface Situation {
  readonly underTest: ReadonlySet<TestedRole>;
  /** Whether the kit's own peers stand around the target. */
  readonly harness: boolean;
  readonly pics: ReadonlyMap<TestedRole, Pics>;
  /** Of a user's side: the commands that were given for it; undefined where every one is. */
  readonly commands?: ReadonlySet<string>;
}

export interface Omitted {
  readonly id: string;
  readonly reason: string;
}

export interface Selection {
  readonly selected: readonly Purpose[];
  /** Not of this target: another entity's, or of an optional feature that nobody claims. No verdict, no harm. */
  readonly notApplicable: readonly Omitted[];
  /** Of this target, and impossible as the campaign is set up: without it nothing is claimed. */
  readonly outOfReach: readonly Omitted[];
  /** Left out by the filters. */
  readonly filtered: readonly string[];
}

export function select(purposes: readonly Purpose[], situation: Situation, filters: Filters): Selection {
  const selected: Purpose[] = [];
  const notApplicable: Omitted[] = [];
  const outOfReach: Omitted[] = [];
  const filtered: string[] = [];
  for (const purpose of purposes) {
    const { id } = purpose;
    const foreign = purpose.involves.find((role) => !situation.underTest.has(role));
    const unclaimed = conditionsOf(purpose).find((item) => !claimed(item, situation));
    const denied = purpose.forbids.find((item) => claimedBy(item, purpose.involves, situation));
    const missing = purpose.commands.find((command) => situation.commands?.has(command) === false);
    if (!matches(purpose, filters)) filtered.push(id);
    else if (foreign !== undefined) notApplicable.push({ id, reason: `the ${foreign} is not under test` });
    else if (unclaimed !== undefined) notApplicable.push({ id, reason: `${unclaimed} is not claimed` });
    else if (denied !== undefined) notApplicable.push({ id, reason: `${denied} is claimed` });
    else if (purpose.tester.length > 0 && !situation.harness)
      outOfReach.push({
        id,
        reason: `needs the kit as a further ${purpose.tester.join(" and ")}: add a section harness to the target file, and the kit's peers to the registry (x1410 conformance harness makes both)`,
      });
    else if (missing !== undefined)
      outOfReach.push({ id, reason: `needs the client's command "${missing}": name it in the target file` });
    else selected.push(purpose);
  }
  return { selected, notApplicable, outOfReach, filtered };
}

/** The items of the PICS that a purpose tests. Who only sees a method refuse has not seen what it is for. */
export function itemsOf(purpose: Purpose): readonly string[] {
  const { capabilities, steps } = purpose;
  const conditions = conditionsOf(purpose);
  const tested = showsMethods(purpose)
    ? conditions
    : conditions.filter((item) => index.get(item)?.item.kind !== "method");
  return [...tested, ...capabilities, ...steps];
}

/** The items without which a purpose has nothing to test. A procedure may have optional steps and yet be mandatory. */
export function conditionsOf({ methods, requires }: Purpose): readonly string[] {
  return [...methods, ...requires];
}

/** The weakest status among the conditions of a purpose: a purpose of an optional item is optional. */
export function statusOf(purpose: Purpose): Status {
  const status = (item: string) => index.get(item)?.item.status ?? "M";
  return conditionsOf(purpose).map(status).reduce(weaker, "M");
}

export function isFiltered(filters: Filters): boolean {
  return Object.values(filters).some((list: readonly string[] | undefined) => list !== undefined && list.length > 0);
}

function matches(purpose: Purpose, { ids, entities, clauses, steps, statuses, kinds }: Filters): boolean {
  const among = (list: readonly string[] | undefined, values: readonly string[]) =>
    list === undefined || list.length === 0 || values.some((value) => list.includes(value));
  return (
    (ids === undefined || ids.length === 0 || ids.some((glob) => globMatches(glob, purpose.id))) &&
    among(
      entities?.map((entity) => entity.toUpperCase()),
      [purpose.entity],
    ) &&
    among(clauses, [purpose.clause]) &&
    among(steps, purpose.steps) &&
    among(statuses, [statusOf(purpose)]) &&
    among(kinds, [purpose.kind])
  );
}

/** @param glob `*` stands for any run of characters */
export function globMatches(glob: string, id: string): boolean {
  const pattern = glob
    .split("*")
    .map((part) => part.replace(/[.\\+?^${}()|[\]/]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${pattern}$`).test(id);
}

/** Items by name, with the entities whose proforma has them. */
const index = new Map<string, { readonly item: PicsItem; readonly roles: TestedRole[] }>();
for (const role of testedRoles)
  for (const item of proforma(role)) {
    const known = index.get(item.item);
    if (known === undefined) index.set(item.item, { item, roles: [role] });
    else known.roles.push(role);
  }

/** An item is open to be tested unless an entity under test has it in its proforma, optional, and does not claim it. */
function claimed(name: string, { pics, underTest }: Situation): boolean {
  const known = index.get(name);
  if (known === undefined) return true;
  const asked = known.roles.filter((role) => underTest.has(role));
  if (asked.length === 0 || known.item.status === "M") return true;
  return asked.some((role) => pics.get(role)?.supported.has(name));
}

/** Whether one of the roles claims the item in its statement. */
function claimedBy(item: string, roles: readonly TestedRole[], { pics }: Situation): boolean {
  return roles.some((role) => pics.get(role)?.supported.has(item));
}

/** Items that the entities under test claim, and that are neither among `tested` nor such as nothing outside can show. */
export function untested(
  tested: ReadonlySet<string>,
  unobservable: ReadonlyMap<string, string>,
  { pics, underTest }: Situation,
): readonly string[] {
  const claims = [...underTest].flatMap((role) => [...(pics.get(role)?.supported ?? [])]);
  return [...new Set(claims)].filter((item) => !tested.has(item) && !unobservable.has(item));
}
