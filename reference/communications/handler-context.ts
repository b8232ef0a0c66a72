// Connect's HandlerContext, built as far as it is used: most handlers touch two of its parts, and building all of it costs as much as a
// tenth of a call.
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { ArrivingCall } from "./guard.ts";
import { type Peer, peerKey } from "./peer.ts";

/** Where a context gets what it is asked for. */
export interface CallSource {
  readonly peer: Peer;
  readonly protocolName: string;
  readonly url: string;
  requestHeader(): Headers;
  /** Milliseconds since the epoch; Infinity where the caller set no deadline. */
  deadline(): number;
}

export class CallContext implements HandlerContext, ArrivingCall {
  readonly method: DescMethod;
  readonly requestMethod = "POST";
  readonly #source: CallSource;
  #controller: AbortController | undefined;
  #ended = false;
  #endReason: ConnectError | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;

  constructor(method: DescMethod, source: CallSource) {
    this.method = method;
    this.#source = source;
  }

  get service(): DescService {
    return this.method.parent;
  }

  get peer(): Peer {
    return this.#source.peer;
  }

  get protocolName(): string {
    return this.#source.protocolName;
  }

  get url(): string {
    return this.#source.url;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= this.#source.requestHeader();
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  /** Header and trailer where the implementation touched them. */
  get touchedHeader(): Headers | undefined {
    return this.#responseHeader;
  }

  get touchedTrailer(): Headers | undefined {
    return this.#responseTrailer;
  }

  get values(): ContextValues {
    this.#values ??= createContextValues().set(peerKey, this.#source.peer);
    return this.#values;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#ended) this.#controller.abort(this.#endReason ?? finished());
    }
    return this.#controller.signal;
  }

  get timeoutMs(): () => number | undefined {
    return () => {
      const deadline = this.#source.deadline();
      return deadline === Number.POSITIVE_INFINITY ? undefined : Math.max(0, deadline - Date.now());
    };
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Ends the call for the implementation: aborts its signal, once. Without a reason, the call ended well. */
  end(reason?: ConnectError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#endReason = reason;
    this.#controller?.abort(reason ?? finished());
  }
}

function finished(): ConnectError {
  return new ConnectError("the call has ended", Code.Canceled);
}
