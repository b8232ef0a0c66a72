// Durable logs behind the streams that users open (U5; F3.9.1, F3.12): every event has a position, a stream resumes after one, and what a
// subscriber has not taken yet stays on disk, so that one that never reads costs no memory.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";
import { type Change, messageTable, put, remove, type Store, type Table } from "../store/durable-batch.ts";

/** Events that each topic keeps at least (design of the streams: 10,000 events). */
const KEPT_EVENTS = 10_000;

/** Events and bytes read ahead of a subscriber. */
const PAGE_EVENTS = 64;
const PAGE_BYTES = 1 << 20;

export interface LogEvent {
  readonly position: bigint;
  readonly value: Uint8Array;
}

/** Newest and oldest position of a topic; both 0 while it has no event. */
interface Extent {
  first: bigint;
  last: bigint;
}

export interface EventLogOptions {
  /** Part of the database for the log alone. */
  readonly store: Store;
  readonly keep?: number;
}

/**
 * One log for each topic. A caller appends under its own mutex for the topic: it commits `append(…).changes` with the effect that the event
 * tells of, then calls `appended`, which wakes the streams.
 */
export class EventLog {
  readonly #events: Table<Uint8Array>;
  readonly #keep: bigint;
  readonly #extents = new Map<string, Promise<Extent>>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor({ store, keep = KEPT_EVENTS }: EventLogOptions) {
    this.#events = messageTable(store, "events");
    this.#keep = BigInt(keep);
  }

  /** Position of the newest event; 0 where there is none. */
  async last(topic: string): Promise<bigint> {
    return (await this.#extent(topic)).last;
  }

  /** @throws ConnectError POSITION_EXPIRED where a stream cannot resume after this position; the position of the newest event otherwise */
  async requireKept(topic: string, after: bigint): Promise<bigint> {
    const extent = await this.#extent(topic);
    assertKept(extent, after);
    return extent.last;
  }

  /** The writes of one more event; `position` defaults to the next, and is above the last where given. */
  async append(topic: string, value: Uint8Array, position?: bigint): Promise<{ position: bigint; changes: Change[] }> {
    const { first, last } = await this.#extent(topic);
    const at = position ?? last + 1n;
    const changes = [put(this.#events, keyOf(topic, at), value)];
    const surplus = at - this.#keep;
    if (first > 0n && surplus >= first) {
      for await (const key of this.#events.keys({ gt: `${topic} `, lte: keyOf(topic, surplus) })) {
        changes.push(remove(this.#events, key));
      }
    }
    return { position: at, changes };
  }

  /** Tells that the changes of `append` are durable. */
  async appended(topic: string, position: bigint): Promise<void> {
    const extent = await this.#extent(topic);
    const oldestKept = position - this.#keep + 1n;
    if (extent.first === 0n) extent.first = position;
    else if (extent.first < oldestKept) extent.first = oldestKept;
    if (extent.last < position) extent.last = position;
    for (const wake of this.#waiting.get(topic) ?? []) wake();
  }

  /**
   * Events after a position, then new ones as they come, until `signal` aborts. Reads from disk what its consumer asks for.
   * @throws ConnectError POSITION_EXPIRED where events after the position are no longer kept, or the position was never given
   */
  async *follow(topic: string, after: bigint, signal: AbortSignal): AsyncGenerator<LogEvent> {
    const extent = await this.#extent(topic);
    let position = after;
    while (!signal.aborted) {
      assertKept(extent, position);
      const page = await this.#page(topic, position);
      // Positions have no gaps: one means that the log was cut while this subscriber lagged behind.
      const lost = position !== 0n && page[0] !== undefined && page[0].position !== position + 1n;
      if (lost) throw refusal(ErrorReason.POSITION_EXPIRED, "after_position");
      for (const event of page) {
        if (signal.aborted) return;
        yield event;
        position = event.position;
      }
      if (position >= extent.last) await this.#change(topic, signal);
    }
  }

  /** Resolves when the topic has an event more, or `signal` aborts. */
  #change(topic: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(topic) ?? new Set();
      this.#waiting.set(topic, waiting);
      const wake = () => {
        waiting.delete(wake);
        if (waiting.size === 0 && this.#waiting.get(topic) === waiting) this.#waiting.delete(topic);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      waiting.add(wake);
      signal.addEventListener("abort", wake);
      if (signal.aborted) wake();
    });
  }

  async #page(topic: string, after: bigint): Promise<LogEvent[]> {
    const page: LogEvent[] = [];
    let bytes = 0;
    for await (const [key, value] of this.#events.iterator({
      gt: keyOf(topic, after),
      lt: `${topic}!`,
      limit: PAGE_EVENTS,
    })) {
      page.push({ position: positionOf(key), value });
      bytes += value.byteLength;
      if (bytes >= PAGE_BYTES) break;
    }
    return page;
  }

  #extent(topic: string): Promise<Extent> {
    const known = this.#extents.get(topic);
    if (known !== undefined) return known;
    const read = this.#readExtent(topic);
    this.#extents.set(topic, read);
    read.catch(() => this.#extents.delete(topic));
    return read;
  }

  async #readExtent(topic: string): Promise<Extent> {
    const range = { gt: `${topic} `, lt: `${topic}!`, limit: 1 };
    const [oldest] = await this.#events.keys(range).all();
    const [newest] = await this.#events.keys({ ...range, reverse: true }).all();
    return oldest === undefined || newest === undefined
      ? { first: 0n, last: 0n }
      : { first: positionOf(oldest), last: positionOf(newest) };
  }
}

/** 0 asks for all that is kept; any other position must be one whose successors are all kept. */
function assertKept({ first, last }: Extent, after: bigint): void {
  const gone = after !== 0n && after + 1n < first;
  if (gone || after > last) throw refusal(ErrorReason.POSITION_EXPIRED, "after_position");
}

/** Positions as keys whose order is that of the numbers. */
export function orderedKey(position: bigint): string {
  return position.toString(16).padStart(16, "0");
}

/** A topic holds no space; an identity or a fixed word. */
function keyOf(topic: string, position: bigint): string {
  return `${topic} ${orderedKey(position)}`;
}

function positionOf(key: string): bigint {
  return BigInt(`0x${key.slice(key.lastIndexOf(" ") + 1)}`);
}
