// What a server answers: calls of each kind, metadata, errors, whom it lets in.
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { AccessControl } from "./access-control.ts";
import { EchoService, NoteSchema } from "./echo.fixture.ts";
import {
  alice,
  clientTo,
  collect,
  type Echo,
  echoServersOfFile,
  failure,
  notes,
  open,
  start,
} from "./echo-server.fixture.ts";
import { grpcTransport } from "./grpc-transport.ts";
import type { Log } from "./log.ts";
import { peerKey } from "./peer.ts";
import { reasonOf, refusal } from "./refusal.ts";

echoServersOfFile();

describe("calls of each kind", () => {
  test("unary", async () => {
    const server = await start({ say: ({ text }) => ({ text: `${text}!` }) });
    const client = clientTo(server);
    expect((await client.say({ text: "hello" })).text).toBe("hello!");
    expect((await client.say({ text: "again" })).text).toBe("again!");
  });

  test("server stream", async () => {
    const server = await start({
      async *count({ text }) {
        for (let index = 0; index < Number(text); index++) yield { text: String(index) };
      },
    });
    const answers = await collect(clientTo(server).count({ text: "300" }));
    expect(answers.map(({ text }) => Number(text))).toEqual(Array.from({ length: 300 }, (_, index) => index));
    expect(await collect(clientTo(server).count({ text: "0" }))).toEqual([]);
  });

  test("client stream", async () => {
    const server = await start({
      async join(requests) {
        const texts: string[] = [];
        for await (const { text } of requests) texts.push(text);
        return { text: texts.join("-") };
      },
    });
    expect((await clientTo(server).join(notes("a", "b", "c"))).text).toBe("a-b-c");
    expect((await clientTo(server).join(notes())).text).toBe("");
  });

  test("both at once", async () => {
    const server = await start({
      async *chat(requests) {
        for await (const { text } of requests) yield { text: text.toUpperCase() };
      },
    });
    const answers = await collect(clientTo(server).chat(notes("a", "b")));
    expect(answers.map(({ text }) => text)).toEqual(["A", "B"]);
  });

  test("a method left out answers UNIMPLEMENTED, as does an unknown service", async () => {
    const server = await start({});
    expect((await failure(clientTo(server).say({}))).code).toBe(Code.Unimplemented);
  });
});

describe("metadata and context", () => {
  test("pass both ways, binary ones too", async () => {
    const server = await start({
      say(_request, { requestHeader, responseHeader, responseTrailer }) {
        responseHeader.set("x-echo", requestHeader.get("x-sent") ?? "");
        responseHeader.set("x-echo-bin", requestHeader.get("x-sent-bin") ?? "");
        responseTrailer.set("x-after", "done");
        return {};
      },
    });
    const seen: Headers[] = [];
    const keep = (headers: Headers) => void seen.push(headers);
    const headers = { "x-sent": "value", "x-sent-bin": "AP8B" };
    await clientTo(server).say({}, { headers, onHeader: keep, onTrailer: keep });
    expect(seen[0]?.get("x-echo")).toBe("value");
    expect(seen[0]?.get("x-echo-bin")).toBe("AP8B");
    expect(seen[1]?.get("x-after")).toBe("done");
  });

  test("the peer is the certificate's identity and fingerprint", async () => {
    let context: HandlerContext | undefined;
    const server = await start({
      say(_request, given) {
        context = given;
        return {};
      },
    });
    await clientTo(server).say({});
    const peer = context?.values.get(peerKey);
    expect(peer).toMatchObject({ identity: alice.identity, fingerprint: alice.fingerprint, transport: "mtls" });
    expect(context?.method.name).toBe("Say");
    expect(context?.service.typeName).toBe(EchoService.typeName);
    expect(context?.signal.aborted).toBe(true);
  });
});

describe("errors", () => {
  test("keep code, reason and text", async () => {
    const server = await start({
      say() {
        throw refusal(ErrorReason.KEY_NOT_FOUND, "k1");
      },
      async *count() {
        yield { text: "first" };
        throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE);
      },
    });
    const error = await failure(clientTo(server).say({}));
    expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, ErrorReason.KEY_NOT_FOUND]);
    expect(error.rawMessage).toContain("k1");
    const streamed = await failure(collect(clientTo(server).count({})));
    expect([streamed.code, reasonOf(streamed)]).toEqual([Code.OutOfRange, ErrorReason.OFFSET_OUT_OF_RANGE]);
  });

  test("a fault tells nothing but INTERNAL_FAULT, and is logged", async () => {
    const logged: unknown[] = [];
    const log: Log = { info: () => undefined, warn: () => undefined, error: (...entry) => void logged.push(entry) };
    const server = await start(
      {
        say() {
          throw new TypeError("secret inside");
        },
        join: () => Promise.reject(new Error("secret inside")),
      },
      { log },
    );
    for (const error of [await failure(clientTo(server).say({})), await failure(clientTo(server).join(notes("a")))]) {
      expect([error.code, reasonOf(error)]).toEqual([Code.Internal, ErrorReason.INTERNAL_FAULT]);
      expect(error.message).not.toContain("secret");
    }
    expect(JSON.stringify(logged)).toContain("secret inside");
  });

  test("an error text that cannot be percent-encoded does not break the call", async () => {
    const server = await start({
      say() {
        throw new ConnectError("\ud800 100% é", Code.NotFound);
      },
    });
    const error = await failure(clientTo(server).say({}));
    expect(error.code).toBe(Code.NotFound);
  });

  test("messages above the limit are refused both ways", async () => {
    const server = await start(
      { say: ({ data }) => ({ data: data.length === 0 ? new Uint8Array(2000) : new Uint8Array() }) },
      { limits: { maxMessageBytes: 1000 } },
    );
    expect((await failure(clientTo(server).say({ data: new Uint8Array(2000) }))).code).toBe(Code.ResourceExhausted);
    expect((await failure(clientTo(server).say({}))).code).toBe(Code.ResourceExhausted);
    expect((await clientTo(server).say({ data: new Uint8Array(900) })).data.length).toBe(0);
  });
});

describe("access control (AAC3)", () => {
  const say: Echo = { say: () => ({}) };

  test("deny list, allow list and method list, replaced on open connections", async () => {
    const accessControl = new AccessControl();
    const server = await start(say, { accessControl });
    const client = clientTo(server);
    await client.say({});
    const refusedBy = async () => {
      const error = await failure(client.say({}));
      return [error.code, reasonOf(error)];
    };
    accessControl.replace({ deny: [{ fingerprint: alice.fingerprint.toUpperCase() }] });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.DENY_LISTED]);
    accessControl.replace({ deny: [{ identity: "urn:x1410:user:*" }], allow: [{ identity: alice.identity }] });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.DENY_LISTED]);
    accessControl.replace({ allow: [{ identity: "urn:x1410:user:bob" }] });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.NOT_ALLOW_LISTED]);
    accessControl.replace({ methods: { "x1410.test.EchoService/*": [{ identity: "urn:x1410:entity:dssm:*" }] } });
    expect(await refusedBy()).toEqual([Code.PermissionDenied, ErrorReason.CALLER_NOT_ALLOWED]);
    accessControl.replace({
      allow: [{ identity: alice.identity }],
      methods: { "x1410.test.EchoService/Say": [{ fingerprint: alice.fingerprint }] },
    });
    await client.say({});
  });
});

test("a port in use is said clearly", async () => {
  const server = await start({});
  await expect(start({}, { port: server.port })).rejects.toThrow(`127.0.0.1:${server.port} is in use`);
});

test("a server of another identity is not talked to", async () => {
  const server = await start({ say: () => create(NoteSchema) });
  const transport = grpcTransport({
    address: server.address,
    credentials: alice.credentials,
    serverIdentity: "urn:x1410:entity:kss:two",
  });
  open.push(transport);
  const error = await failure(createClient(EchoService, transport).say({}));
  expect(error.code).toBe(Code.Unavailable);
  expect(error.message).toContain("not urn:x1410:entity:kss:two");
});
