// A server of the echo service and clients of it, over mutual TLS, for tests: opened as a test needs them, closed after it.
import { type Client, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll } from "vitest";
import { EchoService, type EchoServiceType } from "./echo.fixture.ts";
import { type ClosableTransport, grpcTransport } from "./grpc-transport.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { type RunningServer, type ServerOptions, startServer } from "./server.ts";
import { implement } from "./service.ts";

let fixture: PkiFixture;
export let kss: ReturnType<PkiFixture["issue"]>;
export let alice: ReturnType<PkiFixture["issue"]>;
/** What is closed after the test, the last one first. */
export const open: { close(): unknown }[] = [];

/** Makes certificates, and closes what the tests of a file open: to be called by each file, since files of one worker share this module. */
export function echoServersOfFile(): void {
  beforeAll(() => {
    fixture = pkiFixture();
    kss = fixture.issue("kss", "one");
    alice = fixture.issue("user", "alice");
  });
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });
  afterAll(() => fixture.remove());
}

export type Echo = Partial<ServiceImpl<EchoServiceType>>;

export async function start(implementation: Echo, options: Partial<ServerOptions> = {}): Promise<RunningServer> {
  const registrations = [implement(EchoService, implementation)];
  const server = await startServer({ name: "test", credentials: kss.credentials, registrations, ...options });
  open.push({ close: () => server.close(200) });
  return server;
}

function channelTo(server: RunningServer, credentials = alice.credentials): ClosableTransport {
  const transport = grpcTransport({ address: server.address, credentials, serverIdentity: kss.identity });
  open.push(transport);
  return transport;
}

export function clientTo(server: RunningServer, credentials = alice.credentials): Client<EchoServiceType> {
  return createClient(EchoService, channelTo(server, credentials));
}

/** What the call fails with. */
export async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (cause) {
    if (cause instanceof ConnectError) return cause;
    throw cause;
  }
  throw new Error("the call succeeded");
}

export async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

export async function* notes(...texts: string[]): AsyncGenerator<{ text: string }> {
  for (const text of texts) yield { text };
}
