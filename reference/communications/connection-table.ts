// The open connections of a listener and who is behind each. The identity is derived once, when the connection opens; a call looks it up.
import { randomUUID } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { fingerprintOf, identityOf, parseIdentity } from "../../certs/identity.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { originOf } from "./address-origin.ts";
import type { Limits } from "./limits.ts";
import type { Peer } from "./peer.ts";
import { refusal } from "./refusal.ts";
import { assertStanding, type RevocationStatus, type Standing } from "./revocation-status.ts";

interface Connection {
  readonly peer: Peer;
  readonly socket: TLSSocket;
  /** Why no call is answered on this connection, whatever its certificate; the refusal waits for the first call, which can carry it. */
  readonly identityInvalid: boolean;
  /** Undefined where the peer has no certificate. */
  standing: Standing | undefined;
  /** Runs out where no call comes. */
  readonly firstCall: NodeJS.Timeout;
}

/** The clock may be set while a timer runs: what has ended is noticed after this at the latest. */
const CLOCK_CHECK_MS = 60_000;

export class ConnectionTable {
  readonly #connections = new Map<string, Connection>();
  readonly #limits: Pick<Limits, "maxConnections" | "maxConnectionsPerPeer" | "firstCallMs">;
  readonly #onStanding: () => void;
  /** How many there are of each identity or, where the peer has none, address. */
  readonly #held = new Map<string, number>();
  #status: RevocationStatus;
  #emptied: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer looks at the connections again. */
  #due = Number.POSITIVE_INFINITY;

  /** @param onStanding called when connections may have lost what they were admitted with: a certificate or a list has ended, lists are new */
  constructor(
    status: RevocationStatus,
    limits: Pick<Limits, "maxConnections" | "maxConnectionsPerPeer" | "firstCallMs">,
    onStanding: () => void,
  ) {
    this.#status = status;
    this.#limits = limits;
    this.#onStanding = onStanding;
  }

  /**
   * Enters a connection whose handshake is done; it leaves by itself when the socket closes. From then on the socket gives the
   * connection's id for its remote address: that is how RPC stacks tell which connection a call came over, and addresses and ports alone
   * would not be unique (two networks behind address translation may share them).
   * @param pskIdentity whose pre-shared key the handshake was verified with, where it was
   * @throws Error where there are too many connections, altogether or of this peer
   */
  enter(socket: TLSSocket, pskIdentity?: string): void {
    const connectionId = randomUUID();
    const address = originOf(socket.remoteAddress);
    Object.defineProperties(socket, { remoteAddress: { value: connectionId }, remotePort: { value: undefined } });
    const certificate = pskIdentity === undefined ? socket.getPeerX509Certificate() : undefined;
    const identity = certificate === undefined ? pskIdentity : identityOf(certificate);
    const standing = certificate === undefined ? undefined : this.#status.standingOf(certificate.raw);
    const release = this.#take(identity ?? address);
    this.#connections.set(connectionId, {
      socket,
      peer: {
        identity: identity ?? "",
        fingerprint: certificate === undefined ? "" : fingerprintOf(certificate),
        certificate: certificate?.raw,
        transport: certificate !== undefined ? "mtls" : pskIdentity !== undefined ? "psk" : "anonymous",
        connectionId,
      },
      identityInvalid: certificate !== undefined && (identity === undefined || parseIdentity(identity) === undefined),
      standing,
      firstCall: setTimeout(() => socket.destroy(), this.#limits.firstCallMs).unref(),
    });
    if (standing !== undefined && endOf(standing) < this.#due) this.#watch();
    socket.once("close", () => {
      release();
      clearTimeout(this.#connections.get(connectionId)?.firstCall);
      this.#connections.delete(connectionId);
      if (this.#connections.size === 0) this.#emptied();
    });
  }

  /**
   * The peer behind a connection, as of now.
   * @throws ConnectError IDENTITY_INVALID, CERTIFICATE_EXPIRED, CERTIFICATE_REVOKED, CERTIFICATE_REQUIRED (the connection is gone)
   */
  peerOf(connectionId: string): Peer {
    const connection = this.#connections.get(connectionId);
    if (connection === undefined) throw refusal(ErrorReason.CERTIFICATE_REQUIRED);
    clearTimeout(connection.firstCall);
    if (connection.standing !== undefined) assertStanding(connection.standing, Date.now());
    if (connection.identityInvalid) throw refusal(ErrorReason.IDENTITY_INVALID);
    return connection.peer;
  }

  /**
   * Judges the open connections by new lists: what they revoke is refused from now on, calls under way included. Where an authority is not
   * known here, only a new handshake can judge it.
   */
  reassess(status: RevocationStatus): void {
    this.#status = status;
    for (const connection of this.#connections.values()) {
      const { certificate } = connection.peer;
      if (certificate === undefined) continue;
      connection.standing = status.standingOf(certificate);
      if (!connection.standing.complete) connection.socket.destroy();
    }
    this.#watch();
    this.#onStanding();
  }

  /** A place for one more connection of `holder`; answers how to give it back. */
  #take(holder: string): () => void {
    const { maxConnections, maxConnectionsPerPeer } = this.#limits;
    const held = this.#held.get(holder) ?? 0;
    if (this.#connections.size >= maxConnections) throw new Error("too many connections");
    if (held >= maxConnectionsPerPeer) throw new Error("too many connections of one peer");
    this.#held.set(holder, held + 1);
    return () => {
      const left = (this.#held.get(holder) ?? 1) - 1;
      if (left === 0) this.#held.delete(holder);
      else this.#held.set(holder, left);
    };
  }

  /** Waits for the next end of a certificate or list. */
  #watch(): void {
    clearTimeout(this.#timer);
    const now = Date.now();
    this.#due = now + CLOCK_CHECK_MS;
    if (this.#connections.size === 0) {
      this.#due = Number.POSITIVE_INFINITY;
      return;
    }
    for (const { standing } of this.#connections.values()) {
      if (standing !== undefined && endOf(standing) >= now) this.#due = Math.min(this.#due, endOf(standing) + 1);
    }
    this.#timer = setTimeout(() => {
      this.#watch();
      this.#onStanding();
    }, this.#due - now);
    this.#timer.unref();
  }

  /** Waits until the last connection has closed; false where that takes longer than `ms`. */
  emptyWithin(ms: number): Promise<boolean> {
    if (this.#connections.size === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms);
      this.#emptied = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  cut(connectionId: string): void {
    this.#connections.get(connectionId)?.socket.destroy();
  }

  /** Cuts the connections of these identities, for whom a pre-shared key holds no more. */
  cutPeers(identities: ReadonlySet<string>): void {
    for (const { peer, socket } of this.#connections.values()) if (identities.has(peer.identity)) socket.destroy();
  }

  cutAll(): void {
    for (const { socket } of this.#connections.values()) socket.destroy();
  }
}

function endOf({ notAfter, vouchedUntil }: Standing): number {
  return Math.min(notAfter, vouchedUntil);
}
