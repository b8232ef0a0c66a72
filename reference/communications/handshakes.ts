// The connections of a listener whose TLS handshake is not done. Anyone can open those, so that they have a share of their own: whoever opens
// many drives out its own, never established peers or those who come from elsewhere.
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { originOf } from "./address-origin.ts";
import type { Limits } from "./limits.ts";

export class Handshakes {
  readonly #limits: Pick<Limits, "maxHandshakes" | "maxHandshakesPerAddress">;
  /** By origin, the oldest first. */
  readonly #origins = new Map<string, Set<Socket>>();
  /** By the four numbers of the connection. */
  readonly #sockets = new Map<string, Socket>();

  constructor(limits: Pick<Limits, "maxHandshakes" | "maxHandshakesPerAddress">) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#sockets.size;
  }

  begin(socket: Socket): void {
    // Whoever has left before it was accepted has no address any more, by which it could be told from others.
    if (socket.remoteAddress === undefined) {
      socket.destroy();
      return;
    }
    const origin = originOf(socket.remoteAddress);
    const key = keyOf(socket);
    // The same four again: the former connection is over, though its end has not been told yet.
    this.#remove(origin, key, this.#sockets.get(key));
    const own = this.#origins.get(origin) ?? new Set<Socket>();
    this.#origins.set(origin, own.add(socket));
    this.#sockets.set(key, socket);
    socket.once("close", () => this.#remove(origin, key, socket));
    if (own.size > this.#limits.maxHandshakesPerAddress) drop(own);
    else if (this.count > this.#limits.maxHandshakes) drop(this.#greatest());
  }

  /** The handshake is done: the connection counts among the established from now on. */
  done(socket: TLSSocket): void {
    const key = keyOf(socket);
    this.#remove(originOf(socket.remoteAddress), key, this.#sockets.get(key));
  }

  /** Nothing where another connection has the key by now. */
  #remove(origin: string, key: string, socket: Socket | undefined): void {
    if (socket === undefined || this.#sockets.get(key) !== socket) return;
    this.#sockets.delete(key);
    const own = this.#origins.get(origin);
    own?.delete(socket);
    if (own?.size === 0) this.#origins.delete(origin);
  }

  #greatest(): ReadonlySet<Socket> | undefined {
    let greatest: ReadonlySet<Socket> | undefined;
    for (const each of this.#origins.values()) if (each.size > (greatest?.size ?? 0)) greatest = each;
    return greatest;
  }
}

function drop(sockets: ReadonlySet<Socket> | undefined): void {
  sockets?.values().next().value?.destroy();
}

/** A TLS socket tells the same four as the socket below it. */
function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}
