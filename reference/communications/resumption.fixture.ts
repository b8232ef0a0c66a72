// Whether a server resumes a session that a willing client offers it.
import { type ConnectionOptions, connect } from "node:tls";

export interface Resumption {
  /** "established" once the second handshake is done, else why it was not. */
  readonly outcome: string;
  readonly resumed: boolean;
}

/** Connects, keeps the session that the server gives, and offers it on a second connection. */
export async function offerSession(
  port: number,
  first: ConnectionOptions,
  second: ConnectionOptions = first,
): Promise<Resumption> {
  // The options of this project would not offer one under every version.
  const willing = { host: "127.0.0.1", port, ALPNProtocols: ["h2"], secureOptions: 0 } as const;
  const session = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({ ...first, ...willing });
    socket.once("session", (given) => {
      resolve(given);
      socket.destroy();
    });
    socket.once("error", reject);
    // What comes after the handshake is read only where somebody reads.
    socket.resume();
  });
  return new Promise((resolve) => {
    const socket = connect({ ...second, ...willing, session });
    const end = (outcome: string) => {
      resolve({ outcome, resumed: socket.isSessionReused() });
      socket.destroy();
    };
    socket.once("secureConnect", () => end("established"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.once("close", () => end("closed"));
  });
}
