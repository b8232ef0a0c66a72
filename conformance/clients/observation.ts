// What a client sends and is answered, seen by the servers that the kit puts around it, and what those servers answer otherwise than the
// reference would.
import { clone, create, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { peerKey } from "../../reference/communications/peer.ts";
import { reasonName, reasonOf } from "../../reference/communications/refusal.ts";
import type { Registration } from "../../reference/communications/service.ts";
import { decoded } from "../decoded-message.ts";
import type { LoggedCall, MessageLog } from "../message-log.ts";
import type { Alteration } from "../mutants/mutant.ts";
import { codeName } from "../refusal.ts";
import type { EntityRole } from "../target.ts";

/** One call of the client, in the order in which they came. */
export interface ObservedCall {
  readonly order: number;
  readonly method: DescMethod;
  readonly to: EntityRole;
  /** Which of the kit's ports it came to: that of the network, or an impostor's. */
  readonly impostor: boolean;
  readonly session: string;
  /** Everything else that came as metadata, in one text. */
  readonly metadata: string;
  readonly requests: Message[];
  readonly responses: Message[];
  /** "OK", a canonical code, or "" while it goes on. */
  code: string;
  reason: string;
}

/** What one client does, from the moment that it is watched. */
export class Watch {
  readonly calls: ObservedCall[] = [];
  readonly alterations: Alteration[] = [];
  readonly #log: MessageLog;

  constructor(log: MessageLog) {
    this.#log = log;
  }

  /** Calls of a method, by the descriptor. */
  of(method: DescMethod): readonly ObservedCall[] {
    return this.calls.filter((call) => call.method === method);
  }

  begin(call: Pick<ObservedCall, "method" | "to" | "impostor" | "session" | "metadata">, from: string): Note {
    const observed: ObservedCall = {
      ...call,
      order: this.calls.length,
      requests: [],
      responses: [],
      code: "",
      reason: "",
    };
    this.calls.push(observed);
    const { method, to, impostor } = call;
    const name = `${method.parent.name}/${method.name}`;
    return new Note(observed, this.#log, this.#log.begin(from, impostor ? `impostor of ${to}` : to, name));
  }
}

/** Of a stream, so many messages of each way are shown; all of them are judged. */
const SHOWN_MESSAGES = 4;

class Note {
  readonly #call: ObservedCall;
  readonly #log: MessageLog;
  readonly #logged: LoggedCall;

  constructor(call: ObservedCall, log: MessageLog, logged: LoggedCall) {
    this.#call = call;
    this.#log = log;
    this.#logged = logged;
  }

  sent<M extends Message>(message: M): M {
    // Handlers wipe keys.
    this.#call.requests.push(copy(this.#call.method.input, message));
    if (this.#logged.requestCount++ < SHOWN_MESSAGES)
      this.#logged.requests.push(decoded(this.#call.method.input, message));
    return message;
  }

  answered<M extends Message>(message: M): M {
    const kept = copy(this.#call.method.output, message);
    this.#call.responses.push(kept);
    if (this.#logged.responseCount++ < SHOWN_MESSAGES)
      this.#logged.responses.push(decoded(this.#call.method.output, kept));
    return message;
  }

  end(cause?: unknown): void {
    if (cause === undefined) this.#call.code = "OK";
    else {
      const error = ConnectError.from(cause, Code.Internal);
      this.#call.code = codeName(error.code);
      const reason = reasonOf(error);
      this.#call.reason = reason === 0 ? "" : reasonName(reason);
    }
    this.#log.end(this.#logged, cause);
  }
}

function copy(schema: DescMessage, message: Message): Message {
  return "$typeName" in message ? clone(schema, message) : create(schema, message);
}

type Handler = (input: never, context: HandlerContext) => unknown;

/** The services, each call of a watched client noted and answered as its watch has it; calls of others pass. */
export function observed(
  registrations: readonly Registration[],
  to: EntityRole,
  watches: ReadonlyMap<string, Watch>,
  impostor = false,
): readonly Registration[] {
  return registrations.map(({ service, implementation }) => {
    const handlers = implementation as Readonly<Record<string, Handler | undefined>>;
    const entries = service.methods.flatMap((method) => {
      const original = handlers[method.localName];
      return original === undefined ? [] : [[method.localName, watched(method, original, to, watches, impostor)]];
    });
    return { service, implementation: Object.fromEntries(entries) } as Registration;
  });
}

function watched(
  method: DescMethod,
  original: Handler,
  to: EntityRole,
  watches: ReadonlyMap<string, Watch>,
  impostor: boolean,
): Handler {
  return (input, context) => {
    const { identity } = context.values.get(peerKey);
    const watch = watches.get(identity);
    if (watch === undefined) return original(input, context);
    const session = context.requestHeader.get("x1410-session") ?? "";
    const metadata = [...context.requestHeader].map(([name, value]) => `${name}: ${value}`).join("\n");
    const note = watch.begin({ method, to, impostor, session, metadata }, identity);
    const handle = watch.alterations
      .filter((alteration) => alteration.method === method)
      .reduce((inner, { wrap }) => wrap(inner), original);
    const request = isStreaming(method.methodKind, "client")
      ? (each(input, (message) => note.sent(message)) as never)
      : (note.sent(input as Message) as never);
    return isStreaming(method.methodKind, "server")
      ? streamed(() => handle(request, context) as AsyncIterable<Message>, note)
      : single(() => handle(request, context) as Promise<Message>, note);
  };
}

function isStreaming(kind: DescMethod["methodKind"], side: "client" | "server"): boolean {
  return kind === "bidi_streaming" || kind === `${side}_streaming`;
}

async function single(answer: () => Promise<Message>, note: Note): Promise<Message> {
  try {
    const message = note.answered(await answer());
    note.end();
    return message;
  } catch (cause) {
    note.end(cause);
    throw cause;
  }
}

async function* streamed(answers: () => AsyncIterable<Message>, note: Note): AsyncGenerator<Message> {
  let cause: unknown = new ConnectError("left by the client", Code.Canceled);
  try {
    for await (const message of answers()) yield note.answered(message);
    cause = undefined;
  } catch (error) {
    cause = error;
    throw error;
  } finally {
    note.end(cause);
  }
}

async function* each(messages: AsyncIterable<Message>, tell: (message: Message) => void): AsyncGenerator<Message> {
  for await (const message of messages) {
    tell(message);
    yield message;
  }
}
