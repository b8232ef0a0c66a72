// A consumer's reports on how it used the data (UR2, clause 7.2.4). A report is kept before anything else happens and goes out as soon as
// the management takes it: neither an unreachable management nor a crash loses one.
import { randomBytes } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { DataSharingAccessService } from "../../gen/x1410/v1/data_sharing_access_pb.ts";
import { type UsageKind, UsageReportSchema } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { newContext, signMessage } from "../envelope/sign.ts";
import type { ConnectedUser } from "../user/connected-user.ts";
import { type Patience, repeat } from "../user/repetition.ts";
import type { StateDirectory } from "../user/state-directory.ts";

/** Signed bytes go out again as they are while they are younger than this; accepted are 300 s. */
const RESEND_MS = 240_000;

interface ReportEntry {
  readonly accessId: string;
  readonly kind: UsageKind;
  readonly occurredAt: number;
  readonly remark: string;
  /** Base64 of what was signed last, and when. */
  readonly envelope?: string;
  readonly signedAt?: number;
}

export interface UsageReportsDependencies {
  readonly user: ConnectedUser;
  readonly state: StateDirectory;
  readonly now: () => Date;
  readonly patience: Patience;
}

export class UsageReports {
  readonly #user: ConnectedUser;
  readonly #state: StateDirectory;
  readonly #now: () => Date;
  readonly #patience: Patience;
  #delivery: Promise<number> = Promise.resolve(0);
  #written = 0;

  constructor({ user, state, now, patience }: UsageReportsDependencies) {
    this.#user = user;
    this.#state = state;
    this.#now = now;
    // Nobody waits long for a report: what does not go out now goes out later.
    this.#patience = { ...patience, attempts: Math.min(2, patience.attempts) };
  }

  /** Durable when it resolves; delivered then if the management could be reached. */
  async report(accessId: string, kind: UsageKind, remark: string): Promise<void> {
    const occurredAt = this.#now().getTime();
    const order = `${occurredAt.toString().padStart(16, "0")}-${(this.#written++).toString().padStart(8, "0")}`;
    const entry: ReportEntry = { accessId, kind, occurredAt, remark };
    this.#state.write(`${order}-${randomBytes(4).toString("hex")}.json`, entry);
    await this.deliver();
  }

  /** Sends what is kept, oldest first. Answers how many reports are still to be sent. */
  deliver(): Promise<number> {
    this.#delivery = this.#delivery.then(
      () => this.#deliverAll(),
      () => this.#deliverAll(),
    );
    return this.#delivery;
  }

  async #deliverAll(): Promise<number> {
    const lock = this.#state.lock("delivery");
    try {
      if (lock !== undefined) for (const name of this.#kept()) if (!(await this.#deliverOne(name))) break;
    } finally {
      lock?.release();
    }
    return this.#kept().length;
  }

  #kept(): string[] {
    return this.#state.names().filter((name) => name.endsWith(".json"));
  }

  /** Whether the report needs no more attention. */
  async #deliverOne(name: string): Promise<boolean> {
    const entry = this.#state.read<ReportEntry>(name);
    if (entry === undefined) return true;
    const client = this.#user.management(DataSharingAccessService);
    const report = this.#signed(name, entry);
    try {
      await repeat(this.#patience, () => this.#user.inSession((options) => client.reportUsage({ report }, options)));
    } catch (cause) {
      // The management has it from an earlier attempt, or will never take it.
      const reason = reasonOf(cause);
      const settled = reason === ErrorReason.USAGE_INVALID || reason === ErrorReason.ACCESS_RECORD_NOT_FOUND;
      if (!settled) return false;
    }
    this.#state.remove(name);
    return true;
  }

  #signed(name: string, entry: ReportEntry): SignedEnvelope {
    const now = this.#now();
    if (entry.envelope !== undefined && now.getTime() - (entry.signedAt ?? 0) < RESEND_MS)
      return fromBinary(SignedEnvelopeSchema, Buffer.from(entry.envelope, "base64"));
    const message = create(UsageReportSchema, {
      context: newContext(this.#user, this.#user.managementIdentity, now),
      accessId: entry.accessId,
      kind: entry.kind,
      occurredAt: timestampFromDate(new Date(entry.occurredAt)),
      remark: entry.remark,
    });
    const signed = signMessage(this.#user.signer, UsageReportSchema, message);
    const envelope = Buffer.from(toBinary(SignedEnvelopeSchema, signed)).toString("base64");
    this.#state.write(name, { ...entry, envelope, signedAt: now.getTime() });
    return signed;
  }
}
