// Before a campaign: whether the entities under test answer at all, and with which certificates. A black hole is found here, once, and
// not by every purpose anew.
import { Inconclusive } from "./procedures/procedure.ts";
import type { ReportedEntity } from "./report/report.ts";
import { type EntityRole, entityRoles, type Target } from "./target.ts";
import { byCertificate, probeTls } from "./tls-probe.ts";

/** Performs one handshake with each entity under test, all at once. Never throws for what the network does. */
export function preflight(target: Target): Promise<ReportedEntity[]> {
  return Promise.all(entityRoles.filter((role) => target.underTest.has(role)).map((role) => reach(target, role)));
}

async function reach(target: Target, role: EntityRole): Promise<ReportedEntity> {
  const { endpoint, identity } = target.entities[role];
  const unknown = { role, endpoint, identity, protocol: "", cipher: "", certificateSha256: "" };
  try {
    const { trustAnchorsPem, provider: credential, callTimeoutMs: timeoutMs } = target;
    const probe = await probeTls(byCertificate({ endpoint, timeoutMs, trustAnchorsPem, credential }));
    // Whoever refuses is there: the purposes will say whether it refuses rightly.
    if (probe.outcome === "refused")
      return { ...unknown, reached: true, problem: `the handshake is refused: ${probe.alert}` };
    const { protocol, cipher, certificateSha256 } = probe;
    return { role, endpoint, identity, reached: true, protocol, cipher, certificateSha256, problem: "" };
  } catch (cause) {
    if (!(cause instanceof Inconclusive)) throw cause;
    return { ...unknown, reached: false, problem: cause.message };
  }
}
