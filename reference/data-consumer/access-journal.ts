// What a consumer keeps of an access between its request and its opening: the signed request and the request id of the key, so that a lost
// answer or a crash does not cost one of the accesses that the permission grants.
import { randomBytes } from "node:crypto";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type SignedEnvelope, SignedEnvelopeSchema } from "../../gen/x1410/v1/envelope_pb.ts";
import { type Lock, type StateDirectory, StateDirectoryError } from "../user/state-directory.ts";

/** The identical request gets the same access while it is younger than this; accepted are 300 s, and the token lasts as long. */
const RESEND_MS = 240_000;

interface AccessEntry {
  /** Base64 of the SignedEnvelope. */
  readonly request: string;
  readonly signedAt: number;
  /** Base64, of GetKey. */
  readonly keyRequestId: string;
}

export class AccessJournal {
  readonly request: SignedEnvelope;
  readonly keyRequestId: Uint8Array;
  readonly #state: StateDirectory;
  readonly #name: string;
  readonly #lock: Lock;

  private constructor(state: StateDirectory, name: string, lock: Lock, entry: AccessEntry) {
    this.request = fromBinary(SignedEnvelopeSchema, Buffer.from(entry.request, "base64"));
    this.keyRequestId = new Uint8Array(Buffer.from(entry.keyRequestId, "base64"));
    this.#state = state;
    this.#name = name;
    this.#lock = lock;
  }

  /** Takes up a recent access to this contract that was never opened, or begins one with the request that `sign` makes. */
  static takeOrBegin(state: StateDirectory, contractId: string, now: Date, sign: () => SignedEnvelope): AccessJournal {
    for (const name of state.names().filter((found) => found.startsWith(contractId) && found.endsWith(".json"))) {
      const taken = AccessJournal.#take(state, name, now);
      if (taken !== undefined) return taken;
    }
    const name = `${contractId}-${randomBytes(8).toString("hex")}.json`;
    const lock = state.lock(name);
    if (lock === undefined) throw new StateDirectoryError(`${state.file(name)} is in use by another process`);
    const entry: AccessEntry = {
      request: Buffer.from(toBinary(SignedEnvelopeSchema, sign())).toString("base64"),
      signedAt: now.getTime(),
      keyRequestId: randomBytes(16).toString("base64"),
    };
    state.write(name, entry);
    return new AccessJournal(state, name, lock, entry);
  }

  static #take(state: StateDirectory, name: string, now: Date): AccessJournal | undefined {
    const lock = state.lock(name);
    if (lock === undefined) return undefined;
    const entry = state.read<AccessEntry>(name);
    if (entry !== undefined && now.getTime() - entry.signedAt < RESEND_MS)
      return new AccessJournal(state, name, lock, entry);
    state.remove(name);
    lock.release();
    return undefined;
  }

  /** It was opened, or never will be. */
  finish(): void {
    this.#state.remove(this.#name);
    this.#lock.release();
  }

  /** Leaves it to be taken up again. */
  release(): void {
    this.#lock.release();
  }
}
