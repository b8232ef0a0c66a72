// The servers that the kit puts around a user's side: the reference's own entities, whole, with a layer before them that notes what comes
// and answers as a purpose has it. What they prove, such as inclusion in the ledger, therefore holds wherever a purpose leaves it.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../reference/communications/log.ts";
import { silentLog } from "../../reference/communications/log.ts";
import { type RunningServer, startServer } from "../../reference/communications/server.ts";
import type { Registration } from "../../reference/communications/service.ts";
import { createSigner, type Signer } from "../../reference/envelope/signer.ts";
import { launchAltered } from "../../reference/stack/one-process.ts";
import { type RunningStack, startStack } from "../../reference/stack/stack.ts";
import { HarnessAuthority } from "../harness/harness-authority.ts";
import { type Credential, type EntityRole, entityRoles, readTargetSettings, type TargetSettings } from "../target.ts";
import { observed, type Watch } from "./observation.ts";

/** A port of the kit's that shows another certificate than it should, and answers as the right server would. */
export interface Impostor {
  readonly endpoint: string;
  /** Handshakes that were begun there and not finished. */
  readonly refused: number;
  /** Handshakes that were begun there: some TLS libraries judge a certificate only when theirs is finished. */
  readonly reached: number;
  close(): Promise<void>;
}

export class Counterparts {
  readonly settings: TargetSettings;
  /** The authority of all certificates of the network. */
  readonly authority: HarnessAuthority;
  /** Clients that are watched, by identity. */
  readonly watches: Map<string, Watch>;
  readonly #stack: RunningStack;
  readonly #registrations: ReadonlyMap<EntityRole, readonly Registration[]>;
  readonly #folder: string;
  #strangers: HarnessAuthority | undefined;
  readonly #signers = new Map<EntityRole, Signer>();

  private constructor(
    stack: RunningStack,
    settings: TargetSettings,
    folder: string,
    watches: Map<string, Watch>,
    registrations: ReadonlyMap<EntityRole, readonly Registration[]>,
  ) {
    this.#stack = stack;
    this.#folder = folder;
    this.#registrations = registrations;
    this.settings = settings;
    this.watches = watches;
    this.authority = new HarnessAuthority(stack.dataDirectory);
  }

  static async start(): Promise<Counterparts> {
    const folder = await mkdtemp(join(tmpdir(), "x1410-counterparts-"));
    const watches = new Map<string, Watch>();
    const registrations = new Map<EntityRole, readonly Registration[]>();
    try {
      const stack = await startStack(
        {
          dataDirectory: join(folder, "data"),
          host: "127.0.0.1",
          basePort: 0,
          ledgerNodes: 1,
          // Purposes revoke certificates, and new lists cut the connections between the servers: those need none.
          revocationRefreshMs: 24 * 60 * 60_000,
          introspection: "off",
          log: silentLog,
        },
        (launch) =>
          launchAltered(launch, (own) => {
            const role = entityRoles.find((one) => one === launch.plan.kind);
            if (role === undefined) return own;
            registrations.set(role, own);
            return observed(own, role, watches);
          }),
      );
      const settings = await readTargetSettings(stack.targetFile);
      return new Counterparts(stack, settings, folder, watches, registrations);
    } catch (cause) {
      await rm(folder, { recursive: true, force: true });
      throw cause;
    }
  }

  /** Where clients find an entity of the network. */
  entity(role: EntityRole): { readonly identity: string; readonly endpoint: string } {
    const found = this.settings.entities[role];
    if (found === undefined) throw new Error(`the network has no ${role}`);
    return found;
  }

  /** Signs as an entity of the network does: what it signs is true to the client. */
  async signer(role: EntityRole): Promise<Signer> {
    const known = this.#signers.get(role);
    if (known !== undefined) return known;
    const entity = this.#stack.entities.find(({ kind }) => kind === role);
    if (entity === undefined) throw new Error(`the network has no ${role}`);
    const [privateKeyPem, certificateChainPem] = await Promise.all(
      [entity.files.privateKey, entity.files.chain].map((path) => readFile(path, "utf8")),
    );
    const signer = createSigner({ privateKeyPem: privateKeyPem ?? "", certificateChainPem: certificateChainPem ?? "" });
    this.#signers.set(role, signer);
    return signer;
  }

  /** A folder for a client; gone with everything else at the latest. */
  clientFolder(): Promise<string> {
    return mkdtemp(join(this.#folder, "client-"));
  }

  /** An authority that nobody in the network trusts. */
  strangers(): HarnessAuthority {
    this.#strangers ??= new HarnessAuthority(join(this.#folder, "strangers"));
    return this.#strangers;
  }

  /** The services of an entity on a port of their own, under another certificate. */
  async impostor(role: EntityRole, credential: Credential): Promise<Impostor> {
    let refused = 0;
    let finished = 0;
    const log: Log = {
      ...silentLog,
      warn: (event) => {
        if (event === "handshake failed") refused++;
      },
    };
    const server: RunningServer = await startServer({
      name: `impostor-${role}`,
      credentials: {
        privateKey: credential.privateKeyPem,
        certificateChain: credential.certificateChainPem,
        authorities: [this.settings.trustAnchorsPem, this.authority.intermediatePem],
      },
      registrations: observed(this.#registrations.get(role) ?? [], role, this.watches, true),
      log,
      onConnection: () => finished++,
    });
    return {
      endpoint: server.address,
      get refused() {
        return refused;
      },
      get reached() {
        return refused + finished;
      },
      close: () => server.close(500),
    };
  }

  async close(): Promise<void> {
    await this.#stack.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
