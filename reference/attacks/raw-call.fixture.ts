// Calls whose bodies no client library would send, on bare HTTP/2 over mutual TLS: to the gRPC port and to the exposure API.
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { Code } from "@connectrpc/connect";
import { codeFromString } from "@connectrpc/connect/protocol-connect";
import { secureContextOptions, type TlsCredentials } from "../communications/tls-credentials.ts";
import type { Door } from "./attack-rig.fixture.ts";

export interface RawAnswer {
  /** Canonical code; 0 for OK; undefined where the stream was reset or the connection closed. */
  readonly code: number | undefined;
  /** HTTP status. */
  readonly status: number;
  readonly body: Buffer;
}

export interface RawCall {
  /** package.Service/Method */
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the call for both sides. */
  readonly timeoutMs?: number;
}

export class RawConnection {
  readonly socket: TLSSocket;
  readonly session: ClientHttp2Session;
  readonly #door: Door;

  private constructor(socket: TLSSocket, door: Door) {
    this.socket = socket;
    this.#door = door;
    this.session = connectHttp2("https://stack", { createConnection: () => socket });
    // A connection that the server cuts is a result, seen by its calls.
    this.session.on("error", () => {});
  }

  static open(endpoint: string, credentials: TlsCredentials, door: Door): Promise<RawConnection> {
    const socket = openTls(endpoint, credentials);
    return new Promise((resolve, reject) => {
      socket.once("secureConnect", () => resolve(new RawConnection(socket, door)));
      socket.once("error", reject);
    });
  }

  call({ path, body, headers = {}, timeoutMs = 5_000 }: RawCall): Promise<RawAnswer> {
    const grpc = this.#door === "gRPC";
    return new Promise((resolve) => {
      const stream = this.session.request({
        ":method": "POST",
        ":path": `/${path}`,
        ...(grpc
          ? { "content-type": "application/grpc", te: "trailers", "grpc-timeout": `${timeoutMs}m` }
          : {
              "content-type": "application/proto",
              "connect-protocol-version": "1",
              "connect-timeout-ms": String(timeoutMs),
            }),
        ...headers,
      });
      let status = 0;
      let grpcStatus: string | undefined;
      const parts: Buffer[] = [];
      const note = (received: Record<string, unknown>) => {
        status = Number(received[":status"] ?? status);
        const found = received["grpc-status"];
        if (found !== undefined) grpcStatus = String(found);
      };
      stream.on("response", note);
      stream.on("trailers", note);
      stream.on("data", (part: Buffer) => parts.push(part));
      stream.on("error", () => {});
      stream.setTimeout(timeoutMs + 5_000, () => stream.close());
      stream.once("close", () => {
        const answer = Buffer.concat(parts);
        const code = grpc ? codeOfGrpc(grpcStatus) : codeOfConnect(status, answer, headers["content-type"]);
        resolve({ code, status, body: answer });
      });
      stream.end(body);
    });
  }

  close(): void {
    this.session.destroy();
    this.socket.destroy();
  }
}

export function openTls(endpoint: string, credentials: TlsCredentials, protocols = ["h2"]): TLSSocket {
  const at = endpoint.lastIndexOf(":");
  return connectTls({
    host: endpoint.slice(0, at),
    port: Number(endpoint.slice(at + 1)),
    ALPNProtocols: protocols,
    ...secureContextOptions(credentials),
    checkServerIdentity: () => undefined,
  });
}

/** One message in the framing of gRPC, which the Connect protocol uses for streams as well. */
export function framed(message: Uint8Array, claimedLength = message.length, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(claimedLength, 1);
  return Buffer.concat([head, message]);
}

function codeOfGrpc(status: string | undefined): number | undefined {
  return status === undefined ? undefined : Number(status);
}

/** Unary errors are JSON with an HTTP status; streams end with a frame that holds the error. */
function codeOfConnect(status: number, body: Buffer, contentType = ""): number | undefined {
  if (status === 0) return undefined;
  if (contentType.startsWith("application/connect")) return codeOfEnd(body) ?? (status === 200 ? 0 : undefined);
  if (status === 200) return 0;
  try {
    return codeFromString((JSON.parse(body.toString()) as { code: string }).code);
  } catch {
    return status === 415 ? Code.InvalidArgument : status === 404 ? Code.Unimplemented : undefined;
  }
}

function codeOfEnd(body: Buffer): number | undefined {
  for (let at = 0; at + 5 <= body.length; at += 5 + body.readUInt32BE(at + 1)) {
    if (((body[at] ?? 0) & 2) === 0) continue;
    const end = JSON.parse(body.subarray(at + 5, at + 5 + body.readUInt32BE(at + 1)).toString()) as {
      error?: { code: string };
    };
    return end.error === undefined ? 0 : codeFromString(end.error.code);
  }
  return undefined;
}
