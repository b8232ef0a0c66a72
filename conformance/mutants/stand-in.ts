// Servers that stand in for an entity, where what is wrong lies below all handlers: in the handshake, in HTTP/2, in the standard services.
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import type { Code } from "@connectrpc/connect";
import { PreSharedKeys } from "../../reference/communications/pre-shared-keys.ts";
import { type ServerOptions, startServer } from "../../reference/communications/server.ts";
import type { HarnessAuthority } from "../harness/harness-authority.ts";
import type { EntityRole } from "../target.ts";
import type { StandIn } from "./mutant.ts";

/** The first frame of HTTP/2, by which a client knows that it is let in. */
const SETTINGS = Buffer.from("000000040000000000", "hex");

export function material(authority: HarnessAuthority, kind: EntityRole): TlsOptions {
  const { privateKeyPem: key, chainPem: cert } = authority.kept(kind, "local", []);
  const crl = [...authority.revocationListPems];
  return { key, cert, ca: authority.trustAnchorPem, crl, ALPNProtocols: ["h2"], requestCert: true };
}

export type Judge = (socket: TLSSocket) => boolean;

/** A TLS listener that greets whom `admits` says. */
export function listener(
  role: EntityRole,
  options: (authority: HarnessAuthority) => TlsOptions,
  admits: Judge,
  place: "endpoint" | "exposure" = "endpoint",
): StandIn {
  return {
    role,
    start(authority) {
      const sockets = new Set<TLSSocket>();
      const server = createServer(
        { minVersion: "TLSv1.3", rejectUnauthorized: false, ...options(authority) },
        (socket) => {
          sockets.add(socket);
          socket.on("error", () => {});
          if (admits(socket)) socket.write(SETTINGS);
          else socket.destroy();
        },
      );
      const close = () =>
        new Promise<void>((resolve) => {
          for (const socket of sockets) socket.destroy();
          server.close(() => resolve());
        });
      return new Promise((resolve) =>
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as { port: number };
          resolve({ entity: { [place]: `127.0.0.1:${port}` }, close });
        }),
      );
    },
  };
}

const problemOf = (socket: TLSSocket) =>
  socket.getPeerX509Certificate() === undefined ? "NO_CERTIFICATE" : String(socket.authorizationError ?? "");

/** Looks at everything but one problem, as OpenSSL names it. */
export function allBut(role: EntityRole, ...problems: readonly string[]): StandIn {
  return listener(
    role,
    (authority) => material(authority, role),
    (socket) => ["", ...problems].includes(problemOf(socket)),
  );
}

/** The reference's own host, with the one method that a purpose asks for, and options of its own. */
export function server(
  role: EntityRole,
  options: Partial<ServerOptions> & Pick<ServerOptions, "registrations">,
): StandIn {
  return {
    role,
    async start(authority) {
      const { privateKeyPem, chainPem } = authority.kept(role, "local", []);
      const { close, address } = await startServer({
        name: role,
        credentials: {
          privateKey: privateKeyPem,
          certificateChain: chainPem,
          authorities: [authority.trustAnchorPem, authority.intermediatePem],
          revocationLists: authority.revocationListPems,
        },
        ...options,
      });
      return { entity: { endpoint: address }, close: () => close(0) };
    },
  };
}

export interface Seen {
  readonly body: Buffer;
  /** Calls that were reset so far. */
  readonly resets: number;
  /** Connections that have not finished their handshake. */
  readonly silent: number;
}

/** A gRPC server of a few lines, which answers each call with the status that `status` says. */
export function bare(role: EntityRole, status: (seen: Seen) => Code): StandIn {
  return {
    role,
    start(authority) {
      const counts = { resets: 0, silent: 0 };
      const http2 = createHttp2Server();
      const sockets = new Set<TLSSocket>();
      http2.on("stream", (stream: ServerHttp2Stream) => {
        const parts: Buffer[] = [];
        stream.on("error", () => {});
        stream.on("close", () => {
          if (stream.rstCode !== 0) counts.resets += 1;
        });
        stream.on("data", (part: Buffer) => parts.push(part));
        stream.on("end", () => {
          if (stream.destroyed) return;
          const code = status({ ...counts, body: Buffer.concat(parts) });
          stream.respond(
            { ":status": 200, "content-type": "application/grpc", "grpc-status": String(code) },
            { endStream: true },
          );
        });
      });
      const tls = createServer({ ...material(authority, role), rejectUnauthorized: true }, (socket) => {
        counts.silent -= 1;
        sockets.add(socket);
        socket.on("error", () => {});
        http2.emit("connection", socket);
      });
      tls.on("connection", () => {
        counts.silent += 1;
      });
      const close = () =>
        new Promise<void>((resolve) => {
          for (const socket of sockets) socket.destroy();
          http2.close();
          tls.close(() => resolve());
        });
      return new Promise((resolve) =>
        tls.listen(0, "127.0.0.1", () => {
          const { port } = tls.address() as { port: number };
          resolve({ entity: { endpoint: `127.0.0.1:${port}` }, close });
        }),
      );
    },
  };
}

export function keyFor(authority: HarnessAuthority) {
  return { identity: authority.identityOf("consumer"), key: Buffer.alloc(32, 5) };
}

/** A port for pre-shared keys that greets whoever has one. */
export function preSharedKeys(
  role: EntityRole,
  options: (keys: PreSharedKeys, certificate: TlsOptions) => TlsOptions,
): StandIn {
  return {
    role,
    async start(authority) {
      const own = keyFor(authority);
      const standIn = listener(
        role,
        (by) => ({ ALPNProtocols: ["h2"], ...options(new PreSharedKeys([own]), material(by, role)) }),
        () => true,
      );
      const { entity, close } = await standIn.start(authority);
      return { entity: { psk: { endpoint: entity.endpoint ?? "", keys: [own] } }, close };
    },
  };
}

/** The reference's host by pre-shared key, which does not prove itself. */
export function unproven(role: EntityRole, registrations: ServerOptions["registrations"]): StandIn {
  return {
    role,
    async start(authority) {
      const own = keyFor(authority);
      const { entity, close } = await server(role, { clients: new PreSharedKeys([own]), registrations }).start(
        authority,
      );
      return { entity: { psk: { endpoint: entity.endpoint ?? "", keys: [own] } }, close };
    },
  };
}
