// How long a revocation may take to reach an entity: what the IXIT says of its refresh.
import { type AnyRequest, refusalOf } from "../handshake-verdict.ts";
import { Inconclusive } from "../procedures/procedure.ts";
import type { TestCase } from "../test-case.ts";
import { type Handshake, probeTls } from "../tls-probe.ts";

/** Two refreshes of the revocation list and a little more. */
export function refreshTime(t: TestCase): number {
  const { crlRefreshSeconds } = t.ixit;
  const { budgetSeconds } = t.purpose;
  // However often lists are refreshed: nothing can be revoked without it.
  void t.authority;
  if (crlRefreshSeconds === undefined) throw new Inconclusive("the IXIT does not say how often lists are refreshed");
  const wait = 2 * crlRefreshSeconds + 1;
  if (wait > budgetSeconds - 5)
    throw new Inconclusive(`revocation lists are refreshed every ${crlRefreshSeconds} s: set it lower for the test`);
  return wait * 1000;
}

/** Asks again and again until `probe` says yes; false where it does not within the time. */
export async function untilSo(withinMs: number, probe: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + withinMs; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    if (await probe()) return true;
    if (performance.now() > end) return false;
  }
}

/** Whether a handshake comes to be refused within the time, or by its end each call behind it is. */
export async function refusedWithin(withinMs: number, handshake: Handshake, request: AnyRequest): Promise<boolean> {
  const inTime = await untilSo(withinMs, async () => (await probeTls(handshake)).outcome === "refused");
  return inTime || (await refusalOf(handshake, request)).refused;
}
