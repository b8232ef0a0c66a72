// A mutant: the reference with one thing wrong, named after what it breaks. A check that no mutant fails proves nothing.
import type { DescMethod, DescMethodServerStreaming, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { AccessControl } from "../../reference/communications/access-control.ts";
import type { Guard } from "../../reference/communications/guard.ts";
import type { Registration } from "../../reference/communications/service.ts";
import type { Signer } from "../../reference/envelope/signer.ts";
import type { HarnessAuthority } from "../harness/harness-authority.ts";
import type { PurposeId } from "../purposes/purpose.ts";
import type { EntityRole, TargetEntity } from "../target.ts";

type Handler = (input: never, context: HandlerContext) => unknown;

export interface Mutant {
  /** e.g. "kss-gives-another-key". */
  readonly id: string;
  readonly clause: string;
  /** What is wrong, in a sentence. */
  readonly breaks: string;
  /** The purposes that must find it: each of them has to fail on it. */
  readonly foundBy: readonly [PurposeId, ...PurposeId[]];
  /** What each of them must say that it expected: a mutant that is found for another reason proves nothing of the check it is for. */
  readonly expectation?: string;
  /** What handlers answer otherwise. */
  readonly alterations?: readonly Alteration[];
  /** What is not looked at before a handler has its turn. */
  readonly skips?: Skipped;
  /** A server in place of the reference's, where what is wrong lies below all handlers. */
  readonly standIn?: StandIn;
}

export interface Skipped {
  /** Who may call a method; which values a message may have. */
  readonly what: "callers" | "rules";
  /** Name of the door: "kss" is the gRPC port, "kss-2" the exposure API. */
  readonly door: string;
  /** The methods concerned; default all. */
  readonly methods?: readonly DescMethod[];
}

export interface StandIn {
  readonly role: EntityRole;
  /** What of the entity is to be found elsewhere. */
  start(authority: HarnessAuthority): Promise<{ readonly entity: Partial<TargetEntity>; close(): Promise<void> }>;
}

export interface Alteration {
  readonly method: DescMethod;
  /** `signer` signs as the entities of the altered stack do, where what they sign is to say something else. */
  readonly wrap: (original: Handler, signer?: SignerOf) => Handler;
}

export type SignerOf = (role: EntityRole) => Signer;

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
  signer: SignerOf,
): readonly Registration[] {
  return registrations.map(({ service, implementation }) => {
    const handlers = implementation as Readonly<Record<string, Handler | undefined>>;
    const entries = service.methods.flatMap((method) => {
      const original = handlers[method.localName];
      return original === undefined ? [] : [[method.localName, altered(method, original, active, signer)]];
    });
    return { service, implementation: Object.fromEntries(entries) } as Registration;
  });
}

function altered(method: DescMethod, original: Handler, active: () => Mutant | undefined, signer: SignerOf): Handler {
  return (input, context) => {
    const alteration = active()?.alterations?.find((each) => each.method === method);
    return (alteration?.wrap(original, signer) ?? original)(input, context);
  };
}

/** The guards of a door, without what the active mutant skips there. */
export function alterableGuards(
  guards: readonly Guard[],
  door: string,
  active: () => Mutant | undefined,
): readonly Guard[] {
  return guards.map((guard) => {
    const what = guard instanceof AccessControl ? "callers" : "rules";
    const skipped = (method: DescMethod) => {
      const skips = active()?.skips;
      return skips?.what === what && skips.door === door && (skips.methods?.includes(method) ?? true);
    };
    return {
      ...(guard.onChange && { onChange: guard.onChange }),
      admit: (call) => (skipped(call.method) ? undefined : guard.admit?.(call)),
      message: (method, message) => {
        if (!skipped(method)) guard.message?.(method, message);
      },
    };
  });
}
