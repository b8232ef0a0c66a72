// A mutant: the reference with one thing wrong, named after what it breaks. A check that no mutant fails proves nothing.
import type { DescMethod, DescMethodServerStreaming, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { Registration } from "../../reference/communications/service.ts";

type Handler = (input: never, context: HandlerContext) => unknown;

export interface Mutant {
  /** e.g. "kss-gives-another-key". */
  readonly id: string;
  readonly clause: string;
  /** What is wrong, in a sentence. */
  readonly breaks: string;
  readonly alterations: readonly Alteration[];
}

export interface Alteration {
  readonly method: DescMethod;
  readonly wrap: (original: Handler) => Handler;
}

type Unary<I, O> = (request: I, context: HandlerContext) => Promise<O>;

/** Answers a unary method otherwise. `original` is the reference's own handler. */
export function unary<M extends DescMethodUnary>(
  method: M,
  alter: (
    original: Unary<MessageShape<M["input"]>, MessageShape<M["output"]>>,
  ) => Unary<MessageShape<M["input"]>, MessageShape<M["output"]>>,
): Alteration {
  return {
    method,
    wrap: (original) => alter(async (request, context) => original(request as never, context) as never) as Handler,
  };
}

type Streaming<I, O> = (request: I, context: HandlerContext) => AsyncIterable<O>;

/** Answers a server-streaming method otherwise. */
export function streaming<M extends DescMethodServerStreaming>(
  method: M,
  alter: (
    original: Streaming<MessageShape<M["input"]>, MessageShape<M["output"]>>,
  ) => Streaming<MessageShape<M["input"]>, MessageShape<M["output"]>>,
): Alteration {
  return {
    method,
    wrap: (original) => alter((request, context) => original(request as never, context) as never) as Handler,
  };
}

/** Serves the registrations as the mutant that `active` names at the time of the call has them. */
export function alterable(
  registrations: readonly Registration[],
  active: () => Mutant | undefined,
): readonly Registration[] {
  return registrations.map(({ service, implementation }) => {
    const handlers = implementation as Readonly<Record<string, Handler | undefined>>;
    const entries = service.methods.flatMap((method) => {
      const original = handlers[method.localName];
      return original === undefined ? [] : [[method.localName, altered(method, original, active)]];
    });
    return { service, implementation: Object.fromEntries(entries) } as Registration;
  });
}

function altered(method: DescMethod, original: Handler, active: () => Mutant | undefined): Handler {
  return (input, context) => {
    const alteration = active()?.alterations.find((each) => each.method === method);
    return (alteration?.wrap(original) ?? original)(input, context);
  };
}
