// What one peer may take of a server (clause 7.2.5; a stalled or greedy peer costs nothing lasting).
export interface Limits {
  /** Bytes of one message, either way. */
  readonly maxMessageBytes: number;
  readonly maxConnections: number;
  /** Calls at the same time on one connection. */
  readonly maxConcurrentCalls: number;
  readonly handshakeTimeoutMs: number;
  /** From the metadata of a call to its whole request, and between two messages of a request stream. */
  readonly requestTimeoutMs: number;
  /** How long a peer may leave a response unread. */
  readonly stallTimeoutMs: number;
  /** A connection without calls is closed after this. */
  readonly idleConnectionMs: number;
  /** A peer that answers no ping for `keepaliveTimeoutMs` is gone. */
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
}

export const defaultLimits: Limits = {
  maxMessageBytes: 4 * 1024 * 1024,
  maxConnections: 4096,
  maxConcurrentCalls: 256,
  handshakeTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  stallTimeoutMs: 60_000,
  idleConnectionMs: 30 * 60_000,
  keepaliveMs: 60_000,
  keepaliveTimeoutMs: 20_000,
};
