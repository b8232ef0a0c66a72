// What users' sides are called in a target file and on the command line.
import type { ClientRole } from "../target.ts";

const roleNames: Readonly<Record<string, ClientRole>> = {
  "data-provider": "dp",
  "data-consumer": "dc",
  dp: "dp",
  dc: "dc",
};

export const clientRoleNames: readonly string[] = Object.keys(roleNames);

/** Undefined where no role has this name. */
export function clientRole(name: string): ClientRole | undefined {
  return Object.hasOwn(roleNames, name) ? roleNames[name] : undefined;
}
