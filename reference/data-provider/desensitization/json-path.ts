// The paths of rules for JSON Lines, a part of RFC 9535: `$`, `.name`, `['name']` and `[*]` for the elements of an array.
import { DesensitizationError } from "./desensitization-error.ts";
import type { Target } from "./plan.ts";

/** A place in the tree of all paths that matter. */
export interface PathNode {
  readonly members: Map<string, PathNode>;
  elements?: PathNode;
  target?: Target;
  /** The path, where names are to be taken from here. */
  names?: string;
}

const STEP = /\.([\p{L}_][\p{L}\p{N}_-]*)|\['((?:[^'\\]|\\['\\])+)'\]|\[(\*)\]/uy;

/** All targets' paths as one tree. Refuses (`rule_file`) malformed paths, and one that lies inside another. */
export function pathTree(targets: readonly Target[]): PathNode {
  const root: PathNode = { members: new Map() };
  for (const target of targets) {
    const steps = stepsOf(target.field);
    const node = reach(root, steps);
    if (node === root && target.treatment.drops) wrong(target.field, "the record itself cannot be dropped");
    node.target = target;
  }
  for (const { field } of targets) {
    let node: PathNode | undefined = root;
    for (const step of stepsOf(field)) {
      if (node?.target !== undefined) wrong(field, `lies inside ${node.target.field}`);
      node = step === undefined ? node?.elements : node?.members.get(step);
    }
  }
  for (const { treatment } of targets) for (const path of treatment.nameFields) reach(root, stepsOf(path)).names = path;
  return root;
}

/** Names of members; undefined stands for every element. */
function stepsOf(path: string): (string | undefined)[] {
  const steps: (string | undefined)[] = [];
  let at = 1;
  while (at < path.length) {
    STEP.lastIndex = at;
    const step = STEP.exec(path);
    if (step === null) return wrong(path, `not understood from character ${at + 1} on`);
    steps.push(step[1] ?? step[2]?.replace(/\\(['\\])/g, "$1"));
    at = STEP.lastIndex;
  }
  if (!path.startsWith("$")) wrong(path, "a path begins with $");
  return steps;
}

function reach(root: PathNode, steps: readonly (string | undefined)[]): PathNode {
  let node = root;
  for (const step of steps) {
    let next = step === undefined ? node.elements : node.members.get(step);
    if (next === undefined) {
      next = { members: new Map() };
      if (step === undefined) node.elements = next;
      else node.members.set(step, next);
    }
    node = next;
  }
  return node;
}

function wrong(path: string, what: string): never {
  throw new DesensitizationError("rule_file", `path ${JSON.stringify(path)}: ${what}`);
}
