// Calls that no client library would make, on bare HTTP/2 over mutual TLS: broken frames, unknown methods, streams reset at once.
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import type { TLSSocket } from "node:tls";
import { Inconclusive } from "./procedures/procedure.ts";
import { type Handshake, openTls } from "./tls-probe.ts";

export interface RawAnswer {
  /** Status of gRPC, 0 for OK; undefined where the stream was reset or the connection closed. */
  readonly code: number | undefined;
  /** Status of HTTP; undefined where no headers came. */
  readonly httpStatus: number | undefined;
  /** Bytes of the answer, frames of gRPC. */
  readonly body: Buffer;
}

export class RawConnection {
  readonly session: ClientHttp2Session;
  readonly #socket: TLSSocket;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    this.session = connectHttp2("https://entity", { createConnection: () => socket });
    // A connection that the server cuts is a result, which its calls see.
    this.session.on("error", () => {});
  }

  /** @throws Inconclusive where no connection comes about */
  static open({ endpoint, timeoutMs, tls }: Handshake): Promise<RawConnection> {
    const socket = openTls({ endpoint, tls });
    return new Promise((resolve, reject) => {
      const failed = (why: string) => {
        socket.destroy();
        reject(new Inconclusive(`no connection to ${endpoint}: ${why}`));
      };
      const timer = setTimeout(() => failed(`no answer within ${timeoutMs} ms`), timeoutMs);
      socket.once("error", (cause) => {
        clearTimeout(timer);
        failed(cause.message);
      });
      socket.once("secureConnect", () => {
        clearTimeout(timer);
        resolve(new RawConnection(socket));
      });
    });
  }

  /** Opens a call and sends nothing of it. @param path package.Service/Method */
  begin(path: string, timeoutMs: number, contentType = "application/grpc"): ClientHttp2Stream {
    const stream = this.session.request({
      ":method": "POST",
      ":path": `/${path}`,
      "content-type": contentType,
      te: "trailers",
      "grpc-timeout": `${timeoutMs}m`,
    });
    stream.on("error", () => {});
    return stream;
  }

  /** @param body with its framing; left as it is */
  call(path: string, body: Uint8Array, timeoutMs = 5_000, contentType?: string): Promise<RawAnswer> {
    return new Promise((resolve) => {
      if (this.session.destroyed || this.session.closed)
        return resolve({ code: undefined, httpStatus: undefined, body: Buffer.alloc(0) });
      const stream = this.begin(path, timeoutMs, contentType);
      let status: string | undefined;
      let httpStatus: number | undefined;
      const parts: Buffer[] = [];
      const note = (received: Record<string, unknown>) => {
        const found = received["grpc-status"];
        if (found !== undefined) status = String(found);
      };
      stream.on("response", (headers) => {
        httpStatus = headers[":status"];
        note(headers);
      });
      stream.on("trailers", note);
      stream.on("data", (part: Buffer) => parts.push(part));
      stream.setTimeout(timeoutMs + 1_000, () => stream.close());
      stream.once("close", () =>
        resolve({ code: status === undefined ? undefined : Number(status), httpStatus, body: Buffer.concat(parts) }),
      );
      stream.end(body);
    });
  }

  close(): void {
    this.session.destroy();
    this.#socket.destroy();
  }
}

/** One message in the framing of gRPC. */
export function framed(message: Uint8Array, claimedLength = message.length, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(claimedLength, 1);
  return Buffer.concat([head, message]);
}
