// One call on grpc-js. Works on grpc-js's interception interface itself rather than on its stream objects: that gives admission before the
// body, reads on demand, and costs less than the objects it replaces.
import type { DescMessage, Message, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Metadata, ServerInterceptingCall, type status } from "@grpc/grpc-js";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { ConnectionTable } from "./connection-table.ts";
import { errorForCaller } from "./fault.ts";
import { headersFromMetadata, metadataFromHeaders } from "./grpc-metadata.ts";
import { statusFromError } from "./grpc-status.ts";
import { type ArrivingCall, admitCall, checkMessage } from "./guard.ts";
import { CallContext, type CallSource } from "./handler-context.ts";
import type { HostedMethod } from "./hosted-method.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import type { Peer } from "./peer.ts";
import { refusal } from "./refusal.ts";
import { RequestStream } from "./request-stream.ts";
import type { RunningCall, RunningCalls } from "./running-calls.ts";

type Outgoing = ConstructorParameters<typeof ServerInterceptingCall>[0];
type Incoming = Parameters<Outgoing["start"]>[0];
type Response = MessageInitShape<DescMessage>;

/** What all calls of one host share. */
export interface GrpcHosting {
  readonly connections: ConnectionTable;
  readonly limits: Limits;
  readonly log: Log;
  readonly calls: RunningCalls<GrpcCall>;
}

/** Bytes handed to the connection and not yet written, above which a response stream waits: two chunks of bulk data. */
const highWaterBytes = 2 * 1024 * 1024;
const codeOk: status.OK = 0;

export class GrpcCall extends ServerInterceptingCall implements Incoming, CallSource, RunningCall {
  readonly protocolName = "grpc";
  readonly #wire: Outgoing;
  readonly #hosted: HostedMethod;
  readonly #hosting: GrpcHosting;
  readonly #connectionId: string;
  #peer: Peer | undefined;
  #metadata: Metadata | undefined;
  #context: CallContext | undefined;
  #request: Message | undefined;
  #requests: RequestStream | undefined;
  /** When the call began to wait for its one request message; 0 while it does not. */
  #waitingSince = 0;
  #headerSent = false;
  #finished = false;
  #unwrittenBytes = 0;
  #drained: (() => void) | undefined;

  constructor(wire: Outgoing, hosted: HostedMethod, hosting: GrpcHosting) {
    super(wire);
    this.#wire = wire;
    this.#hosted = hosted;
    this.#hosting = hosting;
    // The id of the connection, see ConnectionTable.enter.
    this.#connectionId = wire.getConnectionInfo().remoteAddress ?? "";
  }

  /** grpc-js starts a call with the listener of its own stream objects; this call listens itself. */
  override start(): void {
    this.#hosting.calls.add(this);
    this.#wire.start(this);
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error("the peer of a call is known from its admission on");
    return this.#peer;
  }

  get arrival(): ArrivingCall | undefined {
    return this.#context;
  }

  get url(): string {
    return `https://${this.#wire.getHost()}${this.#hosted.path}`;
  }

  requestHeader(): Headers {
    return this.#metadata === undefined ? new Headers() : headersFromMetadata(this.#metadata);
  }

  deadline(): number {
    const deadline = this.#wire.getDeadline();
    return typeof deadline === "number" ? deadline : deadline.getTime();
  }

  onReceiveMetadata(metadata: Metadata): void {
    try {
      this.#metadata = metadata;
      this.#peer = this.#hosting.connections.peerOf(this.#connectionId);
      this.#context = new CallContext(this.#hosted.method, this);
      const pending = admitCall(this.#hosted.guards, this.#context);
      if (pending === undefined) this.#admitted(this.#context);
      else
        pending.then(
          () => this.#admitted(this.#context),
          (cause: unknown) => this.#fail(cause),
        );
    } catch (cause) {
      this.#fail(cause);
    }
  }

  onReceiveMessage(bytes: Buffer): void {
    if (this.#finished) return;
    try {
      if (this.#requests === undefined && this.#request !== undefined) {
        throw new ConnectError("a second request message for a method that takes one", Code.Unimplemented);
      }
      const message = this.#parse(bytes);
      checkMessage(this.#hosted.guards, this.#hosted.method, message);
      if (this.#requests !== undefined) {
        this.#requests.push(message);
        return;
      }
      this.#request = message;
      this.#wire.startRead();
    } catch (cause) {
      this.#fail(cause);
    }
  }

  onReceiveHalfClose(): void {
    this.#waitingSince = 0;
    const [request, context] = [this.#request, this.#context];
    if (this.#finished || context === undefined) return;
    const { method, invoke } = this.#hosted;
    if (this.#requests !== undefined) {
      this.#requests.end();
    } else if (request === undefined) {
      this.#fail(new ConnectError("no request message for a method that takes one", Code.Unimplemented));
    } else if (method.methodKind === "unary") {
      this.#answer(() => invoke.unary(request, context));
    } else {
      this.#stream(() => invoke.server_streaming(request, context));
    }
  }

  /** The caller cancelled, its deadline passed, the connection broke; also comes after every regular end. */
  onCancel(): void {
    if (this.#finished) return;
    const late = Date.now() >= this.deadline();
    this.abort(
      late
        ? new ConnectError("the deadline has passed", Code.DeadlineExceeded)
        : new ConnectError("the caller cancelled", Code.Canceled),
    );
  }

  /** Ends the call for the implementation, without a status for the caller. */
  abort(reason: ConnectError): void {
    this.#release();
    this.#requests?.fail(reason);
    this.#context?.end(reason);
  }

  /** Ends the call with an error for the caller. */
  refuse(cause: unknown): void {
    this.#fail(cause);
  }

  /** Ends a call whose request has been awaited since before `limit`: asked from time to time, since a timer for each call costs more. */
  endIfAwaitedSince(limit: number): void {
    if (this.#waitingSince === 0 || this.#waitingSince > limit) return;
    this.#fail(new ConnectError("the request did not arrive in time", Code.DeadlineExceeded));
  }

  get isStream(): boolean {
    return this.#hosted.method.methodKind !== "unary";
  }

  #admitted(context: CallContext | undefined): void {
    if (this.#finished || context === undefined) return;
    const { method, invoke } = this.#hosted;
    const { requestTimeoutMs } = this.#hosting.limits;
    if (method.methodKind === "unary" || method.methodKind === "server_streaming") {
      this.#waitingSince = Date.now();
      this.#wire.startRead();
      return;
    }
    const requests = new RequestStream(() => this.#wire.startRead(), requestTimeoutMs);
    this.#requests = requests;
    if (method.methodKind === "client_streaming") this.#answer(() => invoke.client_streaming(requests, context));
    else this.#stream(() => invoke.bidi_streaming(requests, context));
  }

  #parse(bytes: Buffer): Message {
    try {
      return this.#hosted.input.decode(bytes);
    } catch {
      throw refusal(ErrorReason.REQUEST_INVALID, this.#hosted.method.input.name);
    }
  }

  #answer(invoke: () => Promise<Response> | Response): void {
    try {
      const result = invoke();
      if (isPromise(result)) {
        result.then(
          (response) => this.#respond(response),
          (cause: unknown) => this.#fail(cause),
        );
      } else {
        this.#respond(result);
      }
    } catch (cause) {
      this.#fail(cause);
    }
  }

  #respond(response: Response): void {
    if (this.#finished) return;
    try {
      this.#send(response);
      this.#complete();
    } catch (cause) {
      this.#fail(cause);
    }
  }

  #stream(invoke: () => AsyncIterable<Response>): void {
    this.#pump(invoke).catch((cause: unknown) => this.#fail(cause));
  }

  async #pump(invoke: () => AsyncIterable<Response>): Promise<void> {
    for await (const response of invoke()) {
      // Leaving the loop returns the implementation's iterator, which releases what it holds.
      if (this.#finished) return;
      this.#send(response);
      if (this.#unwrittenBytes >= highWaterBytes) await this.#untilDrained();
    }
    if (!this.#finished) this.#complete();
  }

  #send(response: Response): void {
    const bytes = this.#hosted.output.encode(response);
    this.#sendHeader();
    this.#unwrittenBytes += bytes.length;
    this.#wire.sendMessage(bytes, () => {
      this.#unwrittenBytes -= bytes.length;
      if (this.#unwrittenBytes < highWaterBytes) this.#drained?.();
    });
  }

  #untilDrained(): Promise<void> {
    return new Promise((resolve) => {
      const stalled = setTimeout(() => {
        this.#hosting.log.warn("stalled peer cut", { method: this.#hosted.path, connection: this.#connectionId });
        this.#hosting.connections.cut(this.#connectionId);
      }, this.#hosting.limits.stallTimeoutMs);
      stalled.unref();
      this.#drained = () => {
        clearTimeout(stalled);
        this.#drained = undefined;
        resolve();
      };
    });
  }

  #sendHeader(): void {
    if (this.#headerSent) return;
    this.#headerSent = true;
    const header = this.#context?.touchedHeader;
    if (header !== undefined) this.#wire.sendMetadata(metadataFromHeaders(header));
  }

  #complete(): void {
    const trailer = this.#context?.touchedTrailer;
    const metadata = trailer === undefined ? null : metadataFromHeaders(trailer);
    this.#release();
    this.#wire.sendStatus({ code: codeOk, details: "OK", metadata });
    this.#context?.end();
  }

  #fail(cause: unknown): void {
    // After the caller has gone, an error is the echo of its own leaving.
    if (this.#finished) return;
    const error = errorForCaller(cause, this.#hosted.path, this.#hosting.log);
    this.#release();
    try {
      this.#wire.sendStatus(statusFromError(error, this.#context?.touchedTrailer));
    } catch (unsendable) {
      const fault = errorForCaller(unsendable, this.#hosted.path, this.#hosting.log);
      this.#wire.sendStatus(statusFromError(fault, undefined));
    }
    this.#requests?.fail(error);
    this.#context?.end(error);
  }

  #release(): void {
    this.#finished = true;
    this.#waitingSince = 0;
    this.#drained?.();
    this.#hosting.calls.delete(this);
  }
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as Partial<Promise<T>>).then === "function";
}
