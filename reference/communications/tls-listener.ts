// The one door of a server: TLS with client certificates, or with pre-shared keys, on a port of its own (clause 7.2.5, AAC1, AAC2, AAC4).
// What comes through is handed on as a socket with a known peer; which RPC stack speaks on it is not decided here.
import type { AddressInfo } from "node:net";
import { createServer, type Server, type TLSSocket, type TlsOptions } from "node:tls";
import { boundedLines } from "./bounded-lines.ts";
import { ConnectionTable } from "./connection-table.ts";
import { Handshakes } from "./handshakes.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import { type PreSharedKey, PreSharedKeys } from "./pre-shared-keys.ts";
import { pskServerOptions } from "./psk-handshake.ts";
import { RevocationStatus } from "./revocation-status.ts";
import { secureContextOptions, type TlsCredentials } from "./tls-credentials.ts";

/**
 * "certificate": whoever has no valid one fails in the handshake. "anonymous": none is asked for (enrolment port only). Pre-shared keys: no
 * certificate on either side.
 */
export type Clients = "certificate" | "anonymous" | PreSharedKeys;

export interface TlsListenerOptions {
  /** Not shown on a port for pre-shared keys. */
  readonly credentials: TlsCredentials;
  readonly clients: Clients;
  readonly protocols: readonly ("h2" | "http/1.1")[];
  readonly limits: Limits;
  readonly log: Log;
  /** Gets each connection whose handshake is done; its `remoteAddress` is its id in `connections`. */
  onConnection(socket: TLSSocket): void;
  /** Calls under way are to be judged again, see ConnectionTable. */
  onStanding(): void;
}

/** A listener that could not start; the message says what to do. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

export class TlsListener {
  readonly connections: ConnectionTable;
  readonly #options: TlsListenerOptions;
  readonly #server: Server;
  readonly #handshakes: Handshakes;
  readonly #warn: Log["warn"];
  readonly #usedKeys = new WeakMap<TLSSocket, PreSharedKey>();

  private constructor(options: TlsListenerOptions) {
    const { credentials, clients, protocols, limits, log } = options;
    this.#options = options;
    // Strangers can bring these about.
    this.#warn = boundedLines((event, fields) => log.warn(event, fields), {
      limit: limits.maxWarnings,
      intervalMs: limits.warningIntervalMs,
    });
    this.#handshakes = new Handshakes(limits);
    this.connections = new ConnectionTable(new RevocationStatus(credentials), limits, () => options.onStanding());
    this.#server = createServer({
      ...this.#handshakeOptions(),
      ALPNProtocols: [...protocols],
      handshakeTimeout: limits.handshakeTimeoutMs,
      noDelay: true,
    });
    this.#server.on("connection", (socket) => this.#handshakes.begin(socket));
    this.#server.on("secureConnection", (socket) => this.#accept(socket));
    if (clients instanceof PreSharedKeys) {
      const stop = clients.onWithdrawal((identities) => this.connections.cutPeers(identities));
      this.#server.on("close", stop);
    }
    this.#server.on("tlsClientError", (error, socket) => {
      this.#warn("handshake failed", { error: codeOf(error) });
      // Node reports a handshake that takes too long, and leaves it open.
      socket.destroy();
    });
  }

  /**
   * Listens on `host`:`port`, 0 for any free port.
   * @throws ListenError where the port is taken or not permitted, PkiError or an OpenSSL error where the credentials do not parse
   */
  static async open(host: string, port: number, options: TlsListenerOptions): Promise<TlsListener> {
    const listener = new TlsListener(options);
    const server = listener.#server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(new ListenError(whyNot(error, host, port), { cause: error })));
      server.listen(port, host, () => {
        server.removeAllListeners("error");
        server.on("error", (error) => options.log.error("listener", { error: codeOf(error) }));
        resolve();
      });
    });
    return listener;
  }

  get host(): string {
    return (this.#server.address() as AddressInfo).address;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** New credentials and lists for new connections at once, and for the calls on the open ones, those under way included. Throws before anything has changed. */
  reload(credentials: TlsCredentials): void {
    const status = new RevocationStatus(credentials);
    if (!(this.#options.clients instanceof PreSharedKeys)) {
      this.#server.setSecureContext(secureContextOptions(credentials));
    }
    this.connections.reassess(status);
  }

  /** Takes no further connections; the open ones go on. */
  stop(): void {
    if (this.#server.listening) this.#server.close();
  }

  #handshakeOptions(): TlsOptions {
    const { credentials, clients } = this.#options;
    if (clients instanceof PreSharedKeys) {
      return pskServerOptions(clients, (socket, used) => void this.#usedKeys.set(socket, used));
    }
    const required = clients === "certificate";
    return { ...secureContextOptions(credentials), requestCert: required, rejectUnauthorized: required };
  }

  #accept(socket: TLSSocket): void {
    // A peer that vanishes is its own business; the RPC stack sees the close.
    socket.on("error", () => undefined);
    this.#handshakes.done(socket);
    try {
      const { clients } = this.#options;
      const used = this.#usedKeys.get(socket);
      // A key may be withdrawn while the handshake goes on.
      if (clients instanceof PreSharedKeys && (used === undefined || !clients.holds(used)))
        throw new Error("no pre-shared key");
      this.connections.enter(socket, used?.identity);
      this.#options.onConnection(socket);
    } catch (error) {
      this.#warn("connection refused", { error: codeOf(error) });
      socket.destroy();
    }
  }
}

/** The options that it names are those of `x1410 up`. */
export function whyNot(error: Error, host: string, port: number): string {
  const place = `${host}:${port}`;
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return `${place} is in use by another process: choose another port with --base-port, or 0 for any free one, or stop the other stack if it is one`;
    case "EACCES":
      return `${place} needs privileges that this process lacks: choose ports above 1023 with --base-port`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `${place} is no address of this machine: give one that is with --host, such as 127.0.0.1`;
    default:
      return `cannot listen on ${place}: ${error.message}`;
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
