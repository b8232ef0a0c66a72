import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { AccessControl } from "./access-control.ts";
import { bindDirect, type DirectBindingOptions, directPeer } from "./direct-binding.ts";
import { EchoService, type EchoServiceType } from "./echo.fixture.ts";
import type { Guard } from "./guard.ts";
import { peerKey } from "./peer.ts";
import { reasonOf, refusal } from "./refusal.ts";
import { implement } from "./service.ts";

const dssm = "urn:x1410:entity:dssm:one";

function bind(implementation: Partial<ServiceImpl<EchoServiceType>>, options: Partial<DirectBindingOptions> = {}) {
  return bindDirect(implement(EchoService, implementation), { peer: directPeer(dssm), ...options });
}

async function* notes(...texts: string[]) {
  for (const text of texts) yield { text };
}

async function collect(messages: AsyncIterable<{ text: string }>): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of messages) texts.push(text);
  return texts;
}

async function refused(call: Promise<unknown>): Promise<[Code, ErrorReason]> {
  const error = await call.then(() => undefined, ConnectError.from);
  return error === undefined ? [0 as Code, ErrorReason.UNSPECIFIED] : [error.code, reasonOf(error)];
}

describe("a direct binding", () => {
  test("carries all four kinds, without a wire", async () => {
    const client = bind({
      say: ({ text }, { values, protocolName }) => ({
        text: `${text} ${values.get(peerKey).identity} ${protocolName}`,
      }),
      async *count({ text }) {
        for (let index = 0; index < Number(text); index++) yield { text: String(index) };
      },
      join: async (requests) => ({ text: (await collect(requests)).join("-") }),
      async *chat(requests) {
        for await (const { text } of requests) yield { text: text.toUpperCase() };
      },
    });
    const said = await client.say({ text: "hello" });
    expect([said.text, said.$typeName]).toEqual([`hello ${dssm} direct`, "x1410.test.Note"]);
    expect(await collect(client.count({ text: "3" }))).toEqual(["0", "1", "2"]);
    expect((await client.join(notes("a", "b"))).text).toBe("a-b");
    expect(await collect(client.chat(notes("a", "b")))).toEqual(["A", "B"]);
  });

  test("passes metadata both ways", async () => {
    const seen: (string | null)[] = [];
    const client = bind({
      say(_request, { requestHeader, responseHeader, responseTrailer }) {
        responseHeader.set("x-echo", requestHeader.get("x-sent") ?? "");
        responseTrailer.set("x-after", "done");
        return {};
      },
    });
    await client.say(
      {},
      {
        headers: { "x-sent": "value" },
        onHeader: (headers) => void seen.push(headers.get("x-echo")),
        onTrailer: (trailers) => void seen.push(trailers.get("x-after")),
      },
    );
    expect(seen).toEqual(["value", "done"]);
  });

  test("has the same errors as the wire", async () => {
    const client = bind({
      say() {
        throw refusal(ErrorReason.KEY_NOT_FOUND);
      },
      async *count() {
        yield { text: "0" };
        throw new TypeError("secret inside");
      },
    });
    expect(await refused(client.say({}))).toEqual([Code.NotFound, ErrorReason.KEY_NOT_FOUND]);
    expect(await refused(collect(client.count({})))).toEqual([Code.Internal, ErrorReason.INTERNAL_FAULT]);
    expect(await refused(client.join(notes()))).toEqual([Code.Unimplemented, ErrorReason.UNSPECIFIED]);
  });

  test("runs the guards, on each message of a stream too", async () => {
    const guard: Guard = {
      message(_method, note) {
        if ("text" in note && note.text === "bad") throw refusal(ErrorReason.REQUEST_INVALID, "text");
      },
    };
    const accessControl = new AccessControl();
    const client = bind(
      { say: () => ({}), join: async (requests) => ({ text: (await collect(requests)).join() }) },
      { guards: [accessControl, guard] },
    );
    await client.say({ text: "good" });
    expect(await refused(client.say({ text: "bad" }))).toEqual([Code.InvalidArgument, ErrorReason.REQUEST_INVALID]);
    expect(await refused(client.join(notes("a", "bad")))).toEqual([Code.InvalidArgument, ErrorReason.REQUEST_INVALID]);
    accessControl.replace({ deny: [{ identity: dssm }] });
    expect(await refused(client.say({}))).toEqual([Code.PermissionDenied, ErrorReason.DENY_LISTED]);
  });

  test("ends at the deadline and when the caller leaves, whatever the implementation does", async () => {
    const reasons: unknown[] = [];
    const client = bind({
      say(_request, { signal }) {
        signal.addEventListener("abort", () => reasons.push(signal.reason));
        return new Promise(() => undefined);
      },
      async *count(_request, { signal }) {
        yield { text: "0" };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
    expect(await refused(client.say({}, { timeoutMs: 20 }))).toEqual([Code.DeadlineExceeded, ErrorReason.UNSPECIFIED]);
    expect(ConnectError.from(reasons[0]).code).toBe(Code.DeadlineExceeded);
    expect((await refused(client.say({}, { signal: AbortSignal.abort() })))[0]).toBe(Code.Canceled);
    const controller = new AbortController();
    const iterator = client.count({}, { signal: controller.signal })[Symbol.asyncIterator]();
    await iterator.next();
    const rest = iterator.next();
    controller.abort();
    expect((await refused(rest))[0]).toBe(Code.Canceled);
  });
});
