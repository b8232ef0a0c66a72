// A method as a host sees it: descriptor, codecs, guards, and the implementation, which may be absent.
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { Guard } from "./guard.ts";
import { type Codecs, codecFor, type MessageCodec } from "./message-codec.ts";
import type { Registration } from "./service.ts";

type Request = MessageShape<DescMessage>;
type Response = MessageInitShape<DescMessage>;

/** An implementation by the kind of its method; types are checked where it is registered, by `implement`. */
export interface Invocations {
  unary(request: Request, context: HandlerContext): Promise<Response> | Response;
  server_streaming(request: Request, context: HandlerContext): AsyncIterable<Response>;
  client_streaming(requests: AsyncIterable<Request>, context: HandlerContext): Promise<Response>;
  bidi_streaming(requests: AsyncIterable<Request>, context: HandlerContext): AsyncIterable<Response>;
}

export interface HostedMethod {
  readonly method: DescMethod;
  /** `/package.Service/Method` */
  readonly path: string;
  readonly input: MessageCodec;
  readonly output: MessageCodec;
  readonly guards: readonly Guard[];
  readonly invoke: Invocations;
}

/** @throws Error where two registrations have the same service */
export function hostedMethods(
  registrations: readonly Registration[],
  guards: readonly Guard[],
  codecs: Codecs,
): ReadonlyMap<string, HostedMethod> {
  const methods = new Map<string, HostedMethod>();
  for (const { service, implementation } of registrations) {
    for (const method of service.methods) {
      const path = `/${service.typeName}/${method.name}`;
      if (methods.has(path)) throw new Error(`${service.typeName} is registered twice`);
      methods.set(path, {
        method,
        path,
        input: codecFor(method.input, codecs),
        output: codecFor(method.output, codecs),
        guards,
        invoke: invocationsOf(method, implementation),
      });
    }
  }
  return methods;
}

function invocationsOf(method: DescMethod, implementation: object): Invocations {
  const implemented: unknown = Reflect.get(implementation, method.localName);
  const call =
    typeof implemented === "function"
      ? implemented.bind(implementation)
      : () => {
          throw new ConnectError(`${method.parent.typeName}/${method.name} is not implemented`, Code.Unimplemented);
        };
  return { unary: call, server_streaming: call, client_streaming: call, bidi_streaming: call };
}
