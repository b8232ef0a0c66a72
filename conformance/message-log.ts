// What the kit and the target said to one another during one purpose, for the report.
import { create, type DescMessage, type JsonValue, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type StreamResponse, type Transport, type UnaryResponse } from "@connectrpc/connect";
import { reasonName, reasonOf } from "../reference/communications/refusal.ts";
import { decoded } from "./decoded-message.ts";
import { codeName } from "./refusal.ts";

export interface LoggedCall {
  /** Identity of the caller. */
  readonly from: string;
  /** Role of the entity that was called. */
  readonly to: string;
  /** "KeyStorageService/GetKey" */
  readonly method: string;
  /** Milliseconds after the purpose began. */
  readonly atMs: number;
  durationMs: number;
  /** The first messages each way, secrets taken out. */
  readonly requests: JsonValue[];
  readonly responses: JsonValue[];
  /** How many there were in all. */
  requestCount: number;
  responseCount: number;
  /** "OK", a canonical code, or "" while the call goes on. */
  code: string;
  reason: string;
}

/** Of a stream, so many messages are kept each way. */
const KEPT_MESSAGES = 4;
/** Of a purpose, so many calls are kept: a flood of calls is described by its beginning and by what came last. */
const KEPT_FIRST_CALLS = 30;
const KEPT_LAST_CALLS = 30;

export class MessageLog {
  readonly calls: LoggedCall[] = [];
  readonly #from = performance.now();
  readonly #failed = new WeakMap<Error, LoggedCall>();
  /** When each method was called first, by a call that is kept or by one that is not. */
  readonly #firstMs = new Map<string, number>();

  begin(from: string, to: string, method: string): LoggedCall {
    const call: LoggedCall = {
      from,
      to,
      method,
      atMs: performance.now() - this.#from,
      durationMs: 0,
      requests: [],
      responses: [],
      requestCount: 0,
      responseCount: 0,
      code: "",
      reason: "",
    };
    this.calls.push(call);
    if (this.calls.length > KEPT_FIRST_CALLS + KEPT_LAST_CALLS) this.calls.splice(KEPT_FIRST_CALLS, 1);
    if (!this.#firstMs.has(method)) this.#firstMs.set(method, call.atMs);
    return call;
  }

  /** Whether one of these methods was called before. */
  anyBefore({ atMs }: LoggedCall, methods: readonly string[]): boolean {
    return methods.some((method) => (this.#firstMs.get(method) ?? Number.POSITIVE_INFINITY) < atMs);
  }

  /** Calls that nobody has read to their end: leaving the loop over a stream tells nobody. */
  close(): void {
    for (const call of this.calls)
      if (call.code === "") this.end(call, new ConnectError("left by the kit", Code.Canceled));
  }

  /** Which call has failed with this; undefined where it is of none on this log. */
  callOf(cause: unknown): LoggedCall | undefined {
    return cause instanceof Error ? this.#failed.get(cause) : undefined;
  }

  end(call: LoggedCall, cause?: unknown): void {
    call.durationMs = performance.now() - this.#from - call.atMs;
    if (cause === undefined) call.code = "OK";
    else {
      const error = ConnectError.from(cause);
      this.#failed.set(error, call);
      const reason = reasonOf(error);
      call.code = codeName(error.code);
      call.reason = reason === 0 ? "" : reasonName(reason);
    }
  }
}

export interface Recording {
  readonly log: MessageLog;
  readonly from: string;
  readonly to: string;
  /** Ends every call; read at each call, for clean-up has a time of its own. */
  readonly signal: () => AbortSignal;
  /** For unary calls that state none; streams end with the purpose. */
  readonly timeoutMs: number;
}

/** The transport, with every call on the log and under the deadline of its purpose. */
export function recorded(transport: Transport, { log, from, to, signal, timeoutMs }: Recording): Transport {
  const ended = (own: AbortSignal | undefined) => (own === undefined ? signal() : AbortSignal.any([own, signal()]));
  return {
    async unary(method, own, timeout, header, input) {
      const call = log.begin(from, to, `${method.parent.name}/${method.name}`);
      sent(call, method.input, input);
      try {
        const answer = await transport.unary(method, ended(own), timeout ?? timeoutMs, header, input);
        received(call, method.output, answer.message);
        log.end(call);
        return answer as UnaryResponse<typeof method.input, typeof method.output>;
      } catch (cause) {
        log.end(call, cause);
        throw cause;
      }
    },
    async stream(method, own, timeout, header, input) {
      const call = log.begin(from, to, `${method.parent.name}/${method.name}`);
      const watched = each(input, (message) => sent(call, method.input, message));
      try {
        const answer = await transport.stream(method, ended(own), timeout, header, watched);
        const tell = (one: Message) => received(call, method.output, one);
        const message = finished(answer.message, tell, (cause) => log.end(call, cause));
        const { service, header: headers, trailer } = answer;
        return { stream: true, service, method, header: headers, trailer, message } as StreamResponse<
          typeof method.input,
          typeof method.output
        >;
      } catch (cause) {
        log.end(call, cause);
        throw cause;
      }
    },
  };
}

function sent(call: LoggedCall, schema: DescMessage, message: MessageInitShape<DescMessage>): void {
  if (call.requestCount++ < KEPT_MESSAGES) call.requests.push(decoded(schema, complete(schema, message)));
}

function received(call: LoggedCall, schema: DescMessage, message: Message): void {
  if (call.responseCount++ < KEPT_MESSAGES) call.responses.push(decoded(schema, message));
}

function complete(schema: DescMessage, message: MessageInitShape<DescMessage>): Message {
  return "$typeName" in message ? (message as Message) : create(schema, message);
}

async function* each<T>(messages: AsyncIterable<T>, tell: (message: T) => void): AsyncGenerator<T> {
  for await (const message of messages) {
    tell(message);
    yield message;
  }
}

async function* finished<T>(
  messages: AsyncIterable<T>,
  tell: (message: T) => void,
  end: (cause: unknown) => void,
): AsyncGenerator<T> {
  let cause: unknown = new ConnectError("left by the kit", Code.Canceled);
  try {
    for await (const message of messages) {
      tell(message);
      yield message;
    }
    cause = undefined;
  } catch (error) {
    cause = error;
    throw error;
  } finally {
    end(cause);
  }
}
