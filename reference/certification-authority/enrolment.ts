// Enrolments (U1, clause 6.2.1): one-time secrets that an operator hands over out of band. Kept is their SHA-256, so that nobody can take
// a secret out of the store.
import { createHash, randomBytes } from "node:crypto";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { refusal } from "../communications/refusal.ts";
import { commit, jsonTable, put, remove, type Store, type Table } from "../store/durable-batch.ts";

/** A secret that is not used by then ends. */
export const ENROLMENT_LIFETIME_MS = 24 * 60 * 60_000;

/** What a certificate will be issued for. */
export interface Enrolled {
  readonly identity: string;
  readonly hosts: readonly string[];
}

interface EnrolmentRow extends Enrolled {
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  /** SHA-256 of the request that uses it, hexadecimal. */
  readonly request?: string;
  /** Fingerprint of what was issued for that request. */
  readonly issued?: string;
}

interface RenewalRow {
  readonly issued: string;
  readonly expiresAt: number;
}

export class Enrolments {
  readonly #store: Store;
  readonly #now: () => Date;
  readonly #enrolments: Table<EnrolmentRow>;
  /** Answers to renewals, by current certificate and request. */
  readonly #renewals: Table<RenewalRow>;
  readonly #mutex = new KeyedMutex();

  constructor({ store, now }: { store: Store; now: () => Date }) {
    this.#store = store;
    this.#now = now;
    this.#enrolments = jsonTable(store, "enrolments");
    this.#renewals = jsonTable(store, "renewals");
  }

  async prepare({ identity, hosts }: Enrolled): Promise<{ secret: string; expiresAt: Date }> {
    const secret = randomBytes(32).toString("base64url");
    const expiresAt = this.#now().getTime() + ENROLMENT_LIFETIME_MS;
    await commit(this.#store, [put(this.#enrolments, sha256(secret), { identity, hosts, expiresAt })]);
    return { secret, expiresAt: new Date(expiresAt) };
  }

  /**
   * Uses a secret for one request: `issue` runs once, and the same request again gets the fingerprint of the first certificate. A request
   * that `issue` refuses leaves the secret unused.
   * @throws ConnectError ENROLMENT_INVALID where the secret is unknown, expired, or used for another request
   */
  use(secret: string, csr: Uint8Array, issue: (enrolled: Enrolled) => string): Promise<string> {
    const name = sha256(secret);
    return this.#mutex.run(name, async () => {
      const row = await this.#enrolments.get(name);
      const request = sha256(csr);
      const usable = row !== undefined && this.#now().getTime() < row.expiresAt;
      if (!usable || (row.request !== undefined && row.request !== request)) {
        throw refusal(ErrorReason.ENROLMENT_INVALID);
      }
      if (row.issued !== undefined) return row.issued;
      // Claimed before anything is issued: whatever happens next, this secret yields certificates for this one request only.
      await commit(this.#store, [put(this.#enrolments, name, { ...row, request })]);
      let issued: string;
      try {
        issued = issue(row);
      } catch (cause) {
        const { request: _refused, ...unused } = row;
        await commit(this.#store, [put(this.#enrolments, name, unused)]);
        throw cause;
      }
      await commit(this.#store, [put(this.#enrolments, name, { ...row, request, issued })]);
      return issued;
    });
  }

  /** The same for a renewal: the same request under the same certificate gets the first answer again. */
  renew(currentFingerprint: string, csr: Uint8Array, issue: () => string): Promise<string> {
    const name = `${currentFingerprint} ${sha256(csr)}`;
    return this.#mutex.run(name, async () => {
      const answered = await this.#renewals.get(name);
      if (answered !== undefined && this.#now().getTime() < answered.expiresAt) return answered.issued;
      const row: RenewalRow = { issued: issue(), expiresAt: this.#now().getTime() + ENROLMENT_LIFETIME_MS };
      await commit(this.#store, [put(this.#renewals, name, row)]);
      return row.issued;
    });
  }

  /** Ends the secrets of an identity, those used included; one in use is ended when its certificate has been issued. @returns how many */
  async cancel(identity: string): Promise<number> {
    let cancelled = 0;
    for await (const [name, row] of this.#enrolments.iterator()) {
      if (row.identity !== identity) continue;
      await this.#mutex.run(name, () => commit(this.#store, [remove(this.#enrolments, name)]));
      cancelled++;
    }
    return cancelled;
  }

  async sweep(): Promise<void> {
    await this.#sweep(this.#enrolments);
    await this.#sweep(this.#renewals);
  }

  async #sweep<Row extends { readonly expiresAt: number }>(table: Table<Row>): Promise<void> {
    const at = this.#now().getTime();
    for await (const [name, { expiresAt }] of table.iterator()) {
      if (expiresAt <= at) await commit(this.#store, [remove(table, name)]);
    }
  }
}

function sha256(value: string | Uint8Array): string {
  return createHash("sha256").update(value).digest("hex");
}
