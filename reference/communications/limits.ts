// What one peer may take of a server (clause 7.2.5; a stalled or greedy peer costs nothing lasting).
export interface Limits {
  /** Bytes of one message, either way. */
  readonly maxMessageBytes: number;
  /** Whose handshake is done; further ones are closed. */
  readonly maxConnections: number;
  /** Of one identity; where there is none, from one address. */
  readonly maxConnectionsPerPeer: number;
  /** Under way at the same time: beyond this, the oldest of the address that has the most is closed. An IPv6 address counts by its /64. */
  readonly maxHandshakes: number;
  /** Of one address: beyond this, its oldest is closed. */
  readonly maxHandshakesPerAddress: number;
  /** Calls at the same time on one connection. */
  readonly maxConcurrentCalls: number;
  readonly handshakeTimeoutMs: number;
  /** A connection that has made no call by then is closed. */
  readonly firstCallMs: number;
  /** From the metadata of a call to its whole request, and between two messages of a request stream. */
  readonly requestTimeoutMs: number;
  /** How long a peer may leave a response unread. */
  readonly stallTimeoutMs: number;
  /** A connection without calls is closed after this. */
  readonly idleConnectionMs: number;
  /** A peer that answers no ping for `keepaliveTimeoutMs` is gone. */
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Lines that refused connections may cost in the log, each kind in each interval; the rest is counted. */
  readonly maxWarnings: number;
  readonly warningIntervalMs: number;
}

export const defaultLimits: Limits = {
  maxMessageBytes: 4 * 1024 * 1024,
  maxConnections: 4096,
  maxConnectionsPerPeer: 256,
  maxHandshakes: 1024,
  maxHandshakesPerAddress: 128,
  maxConcurrentCalls: 256,
  handshakeTimeoutMs: 10_000,
  firstCallMs: 30_000,
  requestTimeoutMs: 30_000,
  stallTimeoutMs: 60_000,
  idleConnectionMs: 30 * 60_000,
  keepaliveMs: 60_000,
  keepaliveTimeoutMs: 20_000,
  maxWarnings: 10,
  warningIntervalMs: 60_000,
};
