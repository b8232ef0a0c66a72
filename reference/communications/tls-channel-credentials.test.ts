import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { Code, createClient } from "@connectrpc/connect";
import { Channel } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { bulkCodecs } from "./bulk-codec.ts";
import { EchoService } from "./echo.fixture.ts";
import { channelArguments, grpcTransport, overChannel } from "./grpc-transport.ts";
import { type PkiFixture, pkiFixture } from "./pki.fixture.ts";
import { TlsChannelCredentials } from "./tls-channel-credentials.ts";

let fixture: PkiFixture;
let alice: ReturnType<PkiFixture["issue"]>;
beforeAll(() => {
  fixture = pkiFixture();
  alice = fixture.issue("user", "alice");
});
afterAll(() => fixture.remove());

/** Accepts connections and never says a word. */
let silent: Server;
let address: string;
let accepted: Promise<Socket>;
beforeEach(async () => {
  silent = createServer((socket) => socket.resume());
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  accepted = once(silent, "connection").then(([socket]) => socket as Socket);
});
afterEach(() => silent.close());

const serverIdentity = "urn:x1410:entity:kss:one";

test("a channel that is closed leaves no handshake open", async () => {
  const transport = grpcTransport({ address, credentials: alice.credentials, serverIdentity });
  const call = createClient(EchoService, transport)
    .say({})
    .catch(() => {});
  const closed = once(await accepted, "close");
  transport.close();
  await Promise.all([closed, call]);
});

test("a handshake that takes too long ends, and with it the call", async () => {
  const tls = new TlsChannelCredentials(alice.credentials, serverIdentity, 50);
  const channel = new Channel(address, tls, channelArguments(address, 1024));
  const transport = overChannel(channel, bulkCodecs);
  const call = createClient(EchoService, transport).say({});
  const closed = once(await accepted, "close");
  await expect(call).rejects.toMatchObject({
    code: Code.Unavailable,
    message: expect.stringMatching(/takes too long/),
  });
  await closed;
  transport.close();
  tls.close();
});
