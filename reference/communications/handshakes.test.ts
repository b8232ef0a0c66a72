import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { Handshakes } from "./handshakes.ts";

const limits = { maxHandshakes: 4, maxHandshakesPerAddress: 3 };

/** A connection whose end is told when the test says so. */
class Connection extends EventEmitter {
  readonly localAddress = "127.0.0.1";
  readonly localPort = 7400;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  destroyed = false;

  constructor(remoteAddress?: string, remotePort?: number) {
    super();
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
  }

  destroy(): void {
    this.destroyed = true;
  }
}

const begin = (handshakes: Handshakes, connection: Connection): Connection => {
  handshakes.begin(connection as unknown as Socket);
  return connection;
};

test("whoever has left before it was accepted is closed and not counted, however many there are", () => {
  const handshakes = new Handshakes(limits);
  const gone = Array.from({ length: 20 }, () => begin(handshakes, new Connection()));
  expect([gone.every(({ destroyed }) => destroyed), handshakes.count]).toEqual([true, 0]);
  for (const one of gone) one.emit("close");
  const newcomer = begin(handshakes, new Connection("192.0.2.1", 1));
  expect([newcomer.destroyed, handshakes.count]).toEqual([false, 1]);
});

test("the same addresses and ports again are one connection, and the end of the former is not that of the later", () => {
  const handshakes = new Handshakes(limits);
  const both = [1, 2].map(() => begin(handshakes, new Connection("192.0.2.1", 1)));
  expect(handshakes.count).toBe(1);
  both[0]?.emit("close");
  expect(handshakes.count).toBe(1);
  both[1]?.emit("close");
  expect(handshakes.count).toBe(0);
});

test("each connection counts until its handshake is done or it closes, and once", () => {
  const handshakes = new Handshakes(limits);
  const [one, other] = [1, 2].map((port) => begin(handshakes, new Connection("192.0.2.1", port)));
  expect(handshakes.count).toBe(2);
  handshakes.done(one as unknown as TLSSocket);
  expect(handshakes.count).toBe(1);
  one?.emit("close");
  expect(handshakes.count).toBe(1);
  other?.emit("close");
  expect(handshakes.count).toBe(0);
});
