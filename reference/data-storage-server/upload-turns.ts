// One upload of a package at a time. A newer one of the owner takes over: after a lost connection the client resumes at once, while the
// server may not have noticed yet that the old stream is dead.
import type { ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";

/** The sole right to the files of a package and to the upload part of its row. */
export class Turn {
  readonly #packageId: string;
  readonly #over = Promise.withResolvers<void>();
  #takenOver = false;
  #interrupt: ((reason: ConnectError) => void) | undefined;

  constructor(packageId: string) {
    this.#packageId = packageId;
  }

  get over(): Promise<void> {
    return this.#over.promise;
  }

  end(): void {
    this.#over.resolve();
  }

  takeOver(): void {
    this.#takenOver = true;
    this.#interrupt?.(this.#superseded());
  }

  /** @throws ConnectError PACKAGE_EXISTS where a newer upload has taken over */
  assertHeld(): void {
    if (this.#takenOver) throw this.#superseded();
  }

  /**
   * Waits for `next`, but no longer than the turn lasts. One listener at a time, so that a million messages leave nothing behind.
   * @throws ConnectError PACKAGE_EXISTS where a newer upload has taken over
   */
  async whileHeld<T>(next: Promise<T>): Promise<T> {
    // If the turn ends first, nobody is left to hear how `next` fails.
    next.catch(() => undefined);
    this.assertHeld();
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#interrupt = reject;
        next.then(resolve, reject);
      });
    } finally {
      this.#interrupt = undefined;
    }
  }

  #superseded(): ConnectError {
    return refusal(ErrorReason.PACKAGE_EXISTS, `${this.#packageId}: a newer upload has taken over`);
  }
}

export class UploadTurns {
  readonly #turns = new Map<string, Turn>();

  /** Takes the turn over from whoever has it, and runs `task` once that one has stopped. */
  async takeOver<T>(packageId: string, task: (turn: Turn) => Promise<T>): Promise<T> {
    const former = this.#turns.get(packageId);
    const turn = new Turn(packageId);
    this.#turns.set(packageId, turn);
    former?.takeOver();
    try {
      await former?.over;
      turn.assertHeld();
      return await task(turn);
    } finally {
      this.#release(packageId, turn);
    }
  }

  /** Runs `task` unless somebody has the turn. */
  async ifFree(packageId: string, task: () => Promise<void>): Promise<void> {
    if (this.#turns.has(packageId)) return;
    const turn = new Turn(packageId);
    this.#turns.set(packageId, turn);
    try {
      await task();
    } finally {
      this.#release(packageId, turn);
    }
  }

  /** Stops every upload, and waits until all have. */
  async stopAll(): Promise<void> {
    const turns = [...this.#turns.values()];
    for (const turn of turns) turn.takeOver();
    await Promise.all(turns.map(({ over }) => over));
  }

  #release(packageId: string, turn: Turn): void {
    if (this.#turns.get(packageId) === turn) this.#turns.delete(packageId);
    turn.end();
  }
}
