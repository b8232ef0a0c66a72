// The certification authority as a server (3.1.3, clause 6.2.1): one set of services for both of its ports, the one for certificate holders
// and the enrolment port, on which alone a client needs no certificate.
import type { Pki } from "../../certs/pki.ts";
import { type Log, silentLog } from "../communications/log.ts";
import type { Registration } from "../communications/service.ts";
import type { Store } from "../store/durable-batch.ts";
import { type RecurringTask, repeat } from "../store/recurring-task.ts";
import { createCertificationAuthority } from "./certification-authority.ts";
import { Enrolments } from "./enrolment.ts";

const SWEEP_INTERVAL_MS = 60 * 60_000;

export interface CertificationAuthorityServerDependencies {
  /** The server's one database; whoever opened it closes it. */
  readonly db: Store;
  /** What it issues from. */
  readonly pki: Pki;
  readonly now: () => Date;
  readonly log?: Log;
}

export interface CertificationAuthorityServer {
  readonly registrations: readonly Registration[];
  start(): Promise<void>;
  close(): Promise<void>;
}

export function createCertificationAuthorityServer(
  dependencies: CertificationAuthorityServerDependencies,
): CertificationAuthorityServer {
  const { db, pki, now, log = silentLog } = dependencies;
  const enrolments = new Enrolments({ store: db.sublevel("enrolment", {}), now });
  let sweeping: RecurringTask | undefined;
  return {
    registrations: [createCertificationAuthority({ pki, enrolments })],
    async start() {
      await enrolments.sweep();
      sweeping = repeat("sweep enrolments", SWEEP_INTERVAL_MS, () => enrolments.sweep(), log);
    },
    async close() {
      await sweeping?.stop();
    },
  };
}
