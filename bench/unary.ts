// What the adapter costs: CPU of the server process per unary call over mutual TLS, this project's hosting against bare grpc-js, in one run.
//
//   npm run bench:unary [-- --json] [--rounds 30] [--calls 500]
//
// Each variant serves the same method in a process of its own; one client calls them in turn, round by round, so that whatever else the
// machine does falls on all alike. The ratio of a round is taken between neighbours; the medians over all rounds are printed.
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { parseArgs } from "node:util";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import { createPki } from "../certs/pki.ts";
import {
  GetKeyStatusRequestSchema,
  GetKeyStatusResponseSchema,
  KeyStorageService,
} from "../gen/x1410/v1/key_storage_pb.ts";
import { hostOnGrpc } from "../reference/communications/grpc-host.ts";
import { grpcTransport } from "../reference/communications/grpc-transport.ts";
import { defaultLimits } from "../reference/communications/limits.ts";
import { silentLog } from "../reference/communications/log.ts";
import { noCodecs } from "../reference/communications/message-codec.ts";
import { peerKey } from "../reference/communications/peer.ts";
import { startServer } from "../reference/communications/server.ts";
import { implement } from "../reference/communications/service.ts";
import {
  credentialsOf,
  secureContextOptions,
  type TlsCredentials,
} from "../reference/communications/tls-credentials.ts";
import { TlsListener } from "../reference/communications/tls-listener.ts";

const variants = {
  "bare grpc-js, createSsl": serveBareSsl,
  "bare grpc-js, sockets injected": serveBareInjected,
  adapter: serveAdapter,
  "adapter, access control, validation": serveWhole,
} as const;
type Variant = keyof typeof variants;
const names = Object.keys(variants) as Variant[];
const baseline: Variant = "bare grpc-js, createSsl";
const target = 1.15;

type Answer = MessageInitShape<typeof GetKeyStatusResponseSchema>;
const identity = "urn:x1410:entity:kss:bench";
const request = { keyId: "0123456789abcdef0123456789abcdef" };
const response: Answer = { ownerIdentity: "urn:x1410:user:bench" };

/** One method on grpc-js's own terms, with the same message codec. */
const bareService: ServiceDefinition = {
  getKeyStatus: {
    path: "/x1410.v1.KeyStorageService/GetKeyStatus",
    requestStream: false,
    responseStream: false,
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: (bytes) => fromBinary(GetKeyStatusRequestSchema, bytes),
    responseSerialize: (message: Answer) =>
      Buffer.from(toBinary(GetKeyStatusResponseSchema, create(GetKeyStatusResponseSchema, message))),
    responseDeserialize: () => undefined,
  },
};

function bareServer(): Server {
  const server = new Server({ "grpc.enable_channelz": 0 });
  server.addService(bareService, {
    getKeyStatus: (_call: unknown, answer: (error: null, message: Answer) => void) => answer(null, response),
  });
  return server;
}

function serveBareSsl({ authorities, privateKey, certificateChain }: TlsCredentials): Promise<number> {
  const pair = { private_key: Buffer.from(privateKey), cert_chain: Buffer.from(certificateChain) };
  const credentials = ServerCredentials.createSsl(Buffer.from(authorities.join("")), [pair], true);
  return new Promise((resolve, reject) => {
    bareServer().bindAsync("127.0.0.1:0", credentials, (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

function serveBareInjected(credentials: TlsCredentials): Promise<number> {
  const injector = bareServer().createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer({
    ...secureContextOptions(credentials),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ["h2"],
  });
  listener.on("secureConnection", (socket) => injector.injectConnection(socket));
  return new Promise((resolve) => {
    listener.listen(0, "127.0.0.1", () => resolve((listener.address() as { port: number }).port));
  });
}

/** As an implementation is written: it looks at its caller. */
const registrations = [
  implement(KeyStorageService, {
    getKeyStatus(_request, { values }) {
      if (values.get(peerKey).identity === "") throw new Error("no peer");
      return response;
    },
  }),
];

async function serveAdapter(credentials: TlsCredentials): Promise<number> {
  const common = { limits: defaultLimits, log: silentLog };
  const connections = () => listener.connections;
  const host = hostOnGrpc({ registrations, guards: [], codecs: noCodecs, connections, ...common });
  const listener = await TlsListener.open("127.0.0.1", 0, {
    ...common,
    credentials,
    clients: "certificate",
    protocols: ["h2"],
    onConnection: host.accept,
    onStanding: host.judgeCalls,
  });
  return listener.port;
}

async function serveWhole(credentials: TlsCredentials): Promise<number> {
  return (await startServer({ name: "bench", credentials, registrations })).port;
}

/** In a child: serves one variant, and tells its CPU time in microseconds whenever asked. */
async function serve(variant: Variant): Promise<void> {
  process.on("message", async (message: TlsCredentials | "usage") => {
    if (message !== "usage") return process.send?.({ port: await variants[variant](message) });
    const { user, system } = process.cpuUsage();
    return process.send?.({ micros: user + system });
  });
  process.on("disconnect", () => process.exit());
}

interface Contender {
  readonly name: Variant;
  readonly client: Client<typeof KeyStorageService>;
  readonly perCall: number[];
  usage(): Promise<number>;
  end(): void;
}

async function contender(name: Variant, credentials: TlsCredentials, user: TlsCredentials): Promise<Contender> {
  const child = fork(import.meta.filename, ["--serve", name], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ask = (message: TlsCredentials | "usage") =>
    new Promise<{ port: number; micros: number }>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`the server "${name}" ended with ${code}`)));
      child.once("message", (answer) => {
        child.removeAllListeners("exit");
        resolve(answer as { port: number; micros: number });
      });
      child.send(message);
    });
  const { port } = await ask(credentials);
  const transport = grpcTransport({ address: `127.0.0.1:${port}`, credentials: user, serverIdentity: identity });
  return {
    name,
    client: createClient(KeyStorageService, transport),
    perCall: [],
    usage: async () => (await ask("usage")).micros,
    end() {
      transport.close();
      child.disconnect();
    },
  };
}

async function callMany({ client }: Contender, calls: number, concurrency: number): Promise<void> {
  let left = calls;
  const caller = async () => {
    while (left-- > 0) await client.getKeyStatus(request);
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      serve: { type: "string" },
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: "30" },
      calls: { type: "string", default: "500" },
      concurrency: { type: "string", default: "8" },
    },
  });
  if (values.serve !== undefined) return serve(values.serve as Variant);
  const [rounds, calls, concurrency] = [Number(values.rounds), Number(values.calls), Number(values.concurrency)];

  const directory = mkdtempSync(join(tmpdir(), "x1410-bench-"));
  const contenders: Contender[] = [];
  try {
    const pki = createPki(join(directory, "pki"));
    const server = credentialsOf(pki.issueIdentity({ role: "kss", identity }));
    const user = credentialsOf(pki.issueIdentity({ role: "user", identity: "urn:x1410:user:bench" }));
    for (const name of names) contenders.push(await contender(name, server, user));
    for (const each of contenders) await callMany(each, 8 * calls, concurrency);
    for (let round = 0; round < rounds; round++) {
      // Another order each round, so that no variant always follows the same one.
      const order = contenders.map((_, index) => contenders[(index + round) % contenders.length] as Contender);
      for (const each of order) {
        const before = await each.usage();
        await callMany(each, calls, concurrency);
        each.perCall.push((await each.usage()) - before);
      }
    }
  } finally {
    for (const each of contenders) each.end();
    rmSync(directory, { recursive: true, force: true });
  }

  const base = contenders.find(({ name }) => name === baseline)?.perCall ?? [];
  const results = contenders.map(({ name, perCall }) => ({
    name,
    microsPerCall: median(perCall) / calls,
    ratio: median(perCall.map((micros, round) => micros / (base[round] ?? Number.NaN))),
  }));
  const adapter = results.find(({ name }) => name === "adapter");
  const met = adapter !== undefined && adapter.ratio <= target;
  if (values.json) {
    console.log(JSON.stringify({ rounds, calls, concurrency, node: process.version, baseline, target, met, results }));
  } else {
    console.log(
      `server CPU per unary call, mutual TLS, Node ${process.version}: ${rounds} rounds of ${calls} calls, ${concurrency} at a time`,
    );
    for (const { name, microsPerCall, ratio } of results) {
      console.log(`${name.padEnd(38)} ${microsPerCall.toFixed(1).padStart(7)} µs  ${ratio.toFixed(2)}×`);
    }
    console.log(`target: adapter at most ${target}× ${baseline}: ${met ? "met" : "missed"}`);
  }
  if (!met) process.exitCode = 1;
}

await main();
