// The connections of a listener whose TLS handshake is not done. Anyone can open those, so that they have a share of their own: whoever opens
// many drives out its own, never established peers or those who come from elsewhere.
import { isIPv6, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Limits } from "./limits.ts";

export class Handshakes {
  readonly #limits: Pick<Limits, "maxHandshakes" | "maxHandshakesPerAddress">;
  /** By origin, the oldest first; within it by the four numbers of the connection. */
  readonly #origins = new Map<string, Map<string, Socket>>();
  #count = 0;

  constructor(limits: Pick<Limits, "maxHandshakes" | "maxHandshakesPerAddress">) {
    this.#limits = limits;
  }

  begin(socket: Socket): void {
    const origin = originOf(socket.remoteAddress);
    const own = this.#origins.get(origin) ?? new Map<string, Socket>();
    this.#origins.set(origin, own);
    const key = keyOf(socket);
    own.set(key, socket);
    this.#count++;
    socket.once("close", () => this.#remove(origin, key));
    if (own.size > this.#limits.maxHandshakesPerAddress) drop(own);
    else if (this.#count > this.#limits.maxHandshakes) drop(this.#greatest());
  }

  /** The handshake is done: the connection counts among the established from now on. */
  done(socket: TLSSocket): void {
    this.#remove(originOf(socket.remoteAddress), keyOf(socket));
  }

  #remove(origin: string, key: string): void {
    const own = this.#origins.get(origin);
    if (own?.delete(key) !== true) return;
    this.#count--;
    if (own.size === 0) this.#origins.delete(origin);
  }

  #greatest(): ReadonlyMap<string, Socket> | undefined {
    let greatest: ReadonlyMap<string, Socket> | undefined;
    for (const each of this.#origins.values()) if (each.size > (greatest?.size ?? 0)) greatest = each;
    return greatest;
  }
}

function drop(sockets: ReadonlyMap<string, Socket> | undefined): void {
  sockets?.values().next().value?.destroy();
}

/** A TLS socket tells the same four as the socket below it. */
function keyOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}

/** Whom an address stands for: under IPv6 one party has a whole /64. */
export function originOf(address = ""): string {
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = "", tail] = (address.split("%")[0] ?? "").split("::").map((part) => part.split(":").filter(Boolean));
  const rest = tail ?? [];
  const groups = [...head, ...Array<string>(Math.max(0, 8 - head.length - rest.length)).fill("0"), ...rest];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
