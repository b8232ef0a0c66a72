// For tests: calls a component's handlers as a hosting does, with the peer and the metadata that the test says.
import { create, type DescService, type MessageShape } from "@bufbuild/protobuf";
import { type Client, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { type Peer, peerKey } from "../communications/peer.ts";
import type { Registration } from "../communications/service.ts";

export interface TestCaller {
  readonly identity: string;
  /** 64 hexadecimal digits. */
  readonly fingerprint?: string;
  readonly headers?: Record<string, string>;
}

/** A client-shaped binding for unary methods. */
export function callAs<S extends DescService>(registration: Registration<S>, caller: TestCaller): Client<S> {
  const peer: Peer = {
    identity: caller.identity,
    fingerprint: caller.fingerprint ?? "",
    certificate: undefined,
    transport: "direct",
    connectionId: "test",
  };
  const context = {
    values: createContextValues().set(peerKey, peer),
    requestHeader: new Headers(caller.headers ?? {}),
  } as HandlerContext;
  const implementation = registration.implementation as Record<
    string,
    (request: unknown, context: HandlerContext) => unknown
  >;
  const methods = registration.service.methods.map((method) => [
    method.localName,
    async (request: MessageShape<typeof method.input>) => {
      const handler = implementation[method.localName];
      if (handler === undefined) throw new TypeError(`${method.name} is not implemented`);
      return create(method.output, (await handler(create(method.input, request), context)) as Record<string, unknown>);
    },
  ]);
  return Object.fromEntries(methods) as Client<S>;
}
