// For the tests: whole inputs through `desensitize`, in pieces of a size, with a known key.
import { createSecretKey } from "node:crypto";
import { type DesensitizeOptions, desensitize } from "./desensitize.ts";
import type { DesensitizationReport } from "./plan.ts";
import type { Rule } from "./rules.ts";

export const pseudonyms = createSecretKey(Buffer.alloc(32, 1));

export async function run(
  input: Uint8Array,
  rules: readonly Rule[],
  options: DesensitizeOptions & { readonly delimiter?: string },
  pieceBytes = 1 << 16,
): Promise<{ output: Buffer; report: DesensitizationReport }> {
  const { delimiter, ...rest } = options;
  async function* pieces() {
    for (let at = 0; at < input.length; at += pieceBytes) yield input.subarray(at, at + pieceBytes);
  }
  const set = { version: 1, rules, ...(delimiter === undefined ? {} : { delimiter }) } as const;
  const { output, report } = desensitize(pieces(), set, { pseudonymizationKey: pseudonyms, ...rest });
  const parts: Uint8Array[] = [];
  for await (const part of output) parts.push(part);
  return { output: Buffer.concat(parts), report: await report };
}

export async function runText(...[text, rules, options]: [string, readonly Rule[], Parameters<typeof run>[2]]) {
  const { output, report } = await run(Buffer.from(text), rules, options);
  return { text: output.toString(), report };
}
