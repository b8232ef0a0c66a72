// One call of a client over a grpc-js channel, on the channel's own interface: messages are read on demand, written one at a time.
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ChannelInterface, Metadata, ServiceError, StatusObject } from "@grpc/grpc-js";
import { headersFromMetadata } from "./grpc-metadata.ts";
import { errorFromStatus } from "./grpc-status.ts";
import { type Codecs, codecFor, type MessageCodec } from "./message-codec.ts";

type Wire = ReturnType<ChannelInterface["createCall"]>;
type Listener = Parameters<Wire["start"]>[1];
type Request = MessageInitShape<DescMessage>;
type Response = MessageShape<DescMessage>;

interface Waiter {
  resolve(result: IteratorResult<Response, undefined>): void;
  reject(reason: unknown): void;
}

export interface ClientCallOptions {
  readonly channel: ChannelInterface;
  readonly method: DescMethod;
  readonly codecs: Codecs;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

export class GrpcClientCall implements Listener {
  readonly #wire: Wire;
  readonly #input: MessageCodec;
  readonly #output: MessageCodec;
  readonly #signal: AbortSignal | undefined;
  readonly #begun = Promise.withResolvers<void>();
  readonly #waiting: Waiter[] = [];
  #header: Metadata | undefined;
  #trailer: Metadata | undefined;
  /** Set once the status is in; the error stays undefined where it is OK. */
  #ended = false;
  #error: ConnectError | undefined;
  #written: (() => void) | undefined;
  #source: AsyncIterator<Request> | undefined;

  constructor({ channel, method, codecs, timeoutMs, signal }: ClientCallOptions) {
    const deadline = timeoutMs === undefined || timeoutMs <= 0 ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs;
    this.#wire = channel.createCall(`/${method.parent.typeName}/${method.name}`, deadline, null, null, null);
    this.#input = codecFor(method.input, codecs);
    this.#output = codecFor(method.output, codecs);
    this.#signal = signal;
    // Whoever does not wait for the header learns of a failure by reading.
    this.#begun.promise.catch(() => undefined);
  }

  start(metadata: Metadata): void {
    this.#wire.start(metadata, this);
    if (this.#signal?.aborted === true) this.#cancelled();
    else this.#signal?.addEventListener("abort", this.#cancelled, { once: true });
  }

  /** Resolves when the response has begun, rejects where the call fails before. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  get header(): Headers {
    return this.#header === undefined ? new Headers() : headersFromMetadata(this.#header);
  }

  /** Complete once all messages are read. */
  get trailer(): Headers {
    return this.#trailer === undefined ? new Headers() : headersFromMetadata(this.#trailer);
  }

  sendOnly(request: Request): void {
    this.#wire.sendMessageWithContext({}, this.#input.encode(request));
    this.#wire.halfClose();
  }

  /** Sends all of `requests`, each when the one before is on its way; what they throw ends the call. */
  async sendAll(requests: AsyncIterable<Request>): Promise<void> {
    try {
      this.#source = requests[Symbol.asyncIterator]();
      for (;;) {
        const next = await this.#source.next();
        if (this.#ended) return;
        if (next.done === true) break;
        await this.#write(this.#input.encode(next.value));
        if (this.#ended) return;
      }
      this.#wire.halfClose();
    } catch (cause) {
      this.#end(ConnectError.from(cause));
      this.#wire.cancelWithStatus(Code.Canceled as number, "the request stream failed");
    }
  }

  next(): Promise<IteratorResult<Response, undefined>> {
    if (this.#ended) return this.#last();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#waiting.length === 1) this.#wire.startRead();
    });
  }

  /** The one message of a method that answers one, once the status is in. */
  async only(): Promise<Response> {
    const first = await this.next();
    if (first.done === true) throw new ConnectError("the server answered no message", Code.Unimplemented);
    const second = await this.next();
    if (second.done !== true) {
      this.#wire.cancelWithStatus(Code.Canceled as number, "more than one message");
      throw new ConnectError("the server answered more than one message", Code.Unimplemented);
    }
    return first.value;
  }

  onReceiveMetadata(metadata: Metadata): void {
    this.#header = metadata;
    this.#begun.resolve();
  }

  onReceiveMessage(bytes: Buffer): void {
    const waiter = this.#waiting.shift();
    try {
      waiter?.resolve({ done: false, value: this.#output.decode(bytes) });
    } catch (cause) {
      const error = new ConnectError("the response does not parse", Code.Internal, undefined, undefined, cause);
      waiter?.reject(error);
      this.#end(error);
      this.#wire.cancelWithStatus(Code.Internal as number, error.rawMessage);
      return;
    }
    if (this.#waiting.length > 0) this.#wire.startRead();
  }

  onReceiveStatus(status: StatusObject): void {
    this.#trailer = status.metadata;
    this.#end(status.code === 0 ? undefined : this.#errorOf(status));
  }

  #errorOf(status: StatusObject): ConnectError {
    if (this.#signal?.aborted === true) return ConnectError.from(this.#signal.reason, Code.Canceled);
    return errorFromStatus(status as Pick<ServiceError, "code" | "details" | "metadata">);
  }

  #end(error: ConnectError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#signal?.removeEventListener("abort", this.#cancelled);
    if (error === undefined) this.#begun.resolve();
    else this.#begun.reject(error);
    for (const waiter of this.#waiting.splice(0)) this.#last().then(waiter.resolve, waiter.reject);
    this.#written?.();
    // Nobody reads what the source would still give.
    this.#source?.return?.()?.catch(() => undefined);
  }

  #last(): Promise<IteratorResult<Response, undefined>> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return Promise.resolve({ done: true, value: undefined });
  }

  #write(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.#written = resolve;
      this.#wire.sendMessageWithContext({ callback: () => resolve() }, bytes);
    });
  }

  readonly #cancelled = (): void => this.#wire.cancelWithStatus(Code.Canceled as number, "cancelled by the caller");
}
