// One user of the implementation under test, for one purpose: a certificate, an account and a folder of its own, its commands, and what
// came of them.
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { identityOfCredential } from "../credential.ts";
import type { MessageLog } from "../message-log.ts";
import type { Alteration } from "../mutants/mutant.ts";
import { expect, expectFirst, Inconclusive } from "../procedures/procedure.ts";
import { subscriberRules } from "../procedures/subscriber-records.ts";
import type { Credential, EntityRole } from "../target.ts";
import type { ClientBench } from "./client-bench.ts";
import { clientFile } from "./client-files.ts";
import type { ClientProcess, Ended } from "./client-process.ts";
import type { ClientCommand, Placeholder, Values } from "./command-template.ts";
import type { Impostor } from "./counterparts.ts";
import { type ObservedCall, Watch } from "./observation.ts";
import { callsText, outputText, withoutSecrets } from "./outcome-text.ts";

export interface Outcome extends Ended {
  /** What it wrote to {output}; undefined where there is no such file. */
  readonly output: Uint8Array | undefined;
  /** Calls that came while the command ran. */
  readonly calls: readonly ObservedCall[];
}

/** Exit codes of a shell that found no command, or could not run it. */
const notACommand = new Set([126, 127]);
/** So long a client that has broken off a handshake may go on trying before it is stopped. */
const AFTER_REFUSAL_MS = 1_500;
const POLL_MS = 50;

export class ClientUnderTest {
  readonly credential: Credential;
  readonly identity: string;
  readonly watch: Watch;
  readonly #bench: ClientBench;
  readonly #folder: string;
  readonly #signal: () => AbortSignal;
  readonly #values: Record<string, string>;
  #outputs = 0;
  #lastCommand: (() => string) | undefined;

  private constructor(
    bench: ClientBench,
    credential: Credential,
    log: MessageLog,
    folder: string,
    signal: () => AbortSignal,
  ) {
    this.#bench = bench;
    this.#folder = folder;
    this.#signal = signal;
    this.credential = credential;
    this.identity = identityOfCredential(credential);
    this.watch = new Watch(log);
    this.#values = { identity: this.identity };
    for (const role of ["kss", "dss"] as const) this.#locate(role, bench.counterparts.entity(role).endpoint);
    this.#locate("dssm", bench.counterparts.entity("dssm").endpoint);
  }

  /** Writes the folder of a user with this certificate. */
  static async create(
    bench: ClientBench,
    credential: Credential,
    log: MessageLog,
    signal: () => AbortSignal,
  ): Promise<ClientUnderTest> {
    const folder = await bench.counterparts.clientFolder();
    const client = new ClientUnderTest(bench, credential, log, folder, signal);
    await client.#write();
    bench.counterparts.watches.set(client.identity, client.watch);
    return client;
  }

  /** How its last command ended, what it wrote and whom it called, without secrets; "" before the first. */
  get lastCommand(): string {
    return this.#lastCommand?.() ?? "";
  }

  /** Answers of the kit's servers to this client from now on. */
  alter(...alterations: readonly Alteration[]): void {
    this.watch.alterations.push(...alterations);
  }

  /** Tells the client that the entity is there. */
  async redirect(role: EntityRole, { endpoint }: Impostor): Promise<void> {
    this.#locate(role, endpoint);
    await this.#write();
  }

  /** Hands out the revocation lists of now. */
  async renewRevocationLists(): Promise<void> {
    await this.#write();
  }

  /** A file for the client to read. */
  async file(name: string, content: Uint8Array): Promise<string> {
    const path = join(this.#folder, name);
    await writeFile(path, content);
    return path;
  }

  /**
   * Performs a command to its end.
   * @param until where it resolves first, the client has shown enough and is stopped
   * @throws Deviation where the client has begun to talk and does not end in its time; Inconclusive where it could not be started
   */
  async perform(command: ClientCommand, given: Values = {}, until?: Promise<unknown>): Promise<Outcome> {
    const from = this.watch.calls.length;
    const output = join(this.#folder, `output-${++this.#outputs}`);
    const process = this.begin(command, { output, ...given });
    const enough = until?.then(() => process.stop());
    const ended = await process.ended;
    await Promise.race([enough, undefined]);
    const calls = this.watch.calls.slice(from);
    const written = await clientFile(output);
    this.#lastCommand = () =>
      `"${command}" ended with ${outputText({ ...ended, output: written })}; calls that came: ${callsText(calls)}`;
    const { commandSeconds } = this.#bench.settings;
    const words = ended.stderr === "" ? "" : `; its last words: ${withoutSecrets(ended.stderr)}`;
    if (calls.length === 0 && (ended.timedOut || notACommand.has(ended.code ?? 0)))
      throw new Inconclusive(
        `the command "${command}" ${ended.timedOut ? `called nobody in ${commandSeconds} s` : "cannot be run"}${words}`,
      );
    expectFirst(!ended.timedOut, `"${command}" ends within ${commandSeconds} s`, "it was stopped");
    return { ...ended, output: written, calls };
  }

  /** Begins a command that goes on until it is stopped. */
  begin(command: ClientCommand, given: Values = {}): ClientProcess {
    const from = this.watch.calls.length;
    const process = this.#bench.perform(command, { ...this.#values, ...given } as Values, {
      timeoutMs: this.#bench.settings.commandSeconds * 1000,
      signal: this.#signal(),
    });
    this.#lastCommand = () =>
      `"${command}" has written ${process.stdout.length} characters; calls that came: ${callsText(this.watch.calls.slice(from))}`;
    return process;
  }

  /** Performs a command that meets an impostor: until it ends, has called the impostor, or has kept away from it for a while. */
  async performBefore(impostor: Impostor, command: ClientCommand, given: Values = {}): Promise<Outcome> {
    const over = new AbortController();
    const enough = (async () => {
      let refusedAt = 0;
      while (!over.signal.aborted) {
        if (impostor.refused > 0 && refusedAt === 0) refusedAt = performance.now();
        if (refusedAt > 0 && performance.now() - refusedAt > AFTER_REFUSAL_MS) return;
        if (this.watch.calls.some((call) => call.impostor)) return;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      await new Promise(() => {});
    })();
    try {
      return await this.perform(command, given, enough);
    } finally {
      over.abort();
    }
  }

  /** Every file that the client has left in its folder, with its content, but for those that the kit has put there. */
  async leftFiles(): Promise<ReadonlyMap<string, Uint8Array>> {
    const entries = await readdir(join(this.#folder, "state"), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const contents = await Promise.all(files.map(async (path) => [path, await clientFile(path)] as const));
    return new Map(contents.flatMap(([path, content]) => (content === undefined ? [] : [[path, content]])));
  }

  /** Removes its folder; nobody watches it any more. */
  async close(): Promise<void> {
    this.#bench.counterparts.watches.delete(this.identity);
    await rm(this.#folder, { recursive: true, force: true });
  }

  #locate(role: EntityRole, endpoint: string): void {
    const name = role === "dssm" ? "management" : role;
    this.#values[name] = endpoint;
    this.#values[`${name}Identity`] = this.#bench.counterparts.entity(role).identity;
  }

  async #write(): Promise<void> {
    const { authority, settings } = this.#bench.counterparts;
    const path = (placeholder: Placeholder, name: string) => {
      this.#values[placeholder] = join(this.#folder, name);
      return this.#values[placeholder];
    };
    await writeFile(path("certificate", "certificate.pem"), this.credential.certificateChainPem);
    await writeFile(path("key", "key.pem"), this.credential.privateKeyPem, { mode: 0o600 });
    await writeFile(path("ca", "trust-anchor.pem"), settings.trustAnchorsPem);
    await writeFile(path("crl", "revocation-lists.pem"), authority.revocationListPems.join(""));
    await writeFile(path("rules", "rules.json"), JSON.stringify(subscriberRules));
    await mkdir(path("state", "state"), { recursive: true, mode: 0o700 });
    const of = (name: string) => this.#values[name];
    const contents = {
      identity: this.identity,
      management: { endpoint: of("management"), identity: of("managementIdentity") },
      keyStorage: { endpoint: of("kss"), identity: of("kssIdentity") },
      dataStorage: { endpoint: of("dss"), identity: of("dssIdentity") },
      certificate: "certificate.pem",
      privateKey: "key.pem",
      trustAnchors: "trust-anchor.pem",
      revocationLists: "revocation-lists.pem",
      state: "state",
    };
    await writeFile(path("settings", "settings.json"), `${JSON.stringify(contents, undefined, 2)}\n`);
  }
}

/** Exit code 0. @throws Deviation; Inconclusive where the client never came as far as to call */
export function expectAccepted({ code, stderr, calls }: Outcome): void {
  if (code !== 0 && calls.length === 0)
    throw new Inconclusive(
      `the command ended, and called nobody (exit code ${code ?? "none"}: ${withoutSecrets(stderr)})`,
    );
  expectFirst(code === 0, "exit code 0");
}

/**
 * Another exit code, and nothing in {output}.
 * @throws Deviation; Inconclusive where the client called nobody, and so was shown nothing that it could refuse, or ended by a signal
 */
export function expectRefused(outcome: Outcome, what: string): void {
  if (outcome.calls.length === 0) throw new Inconclusive(`the command ended, and called nobody where ${what}`);
  if (outcome.code === undefined) throw new Inconclusive(`the command ended by a signal where ${what}`);
  expectFailed(outcome, what);
}

/**
 * The same of the certificate that a server shows, before any call.
 * @throws Deviation; Inconclusive where nobody came to that server
 */
export function expectServerRefused(outcome: Outcome, { reached }: Pick<Impostor, "reached">, what: string): void {
  expectFailed(outcome, what);
  if (reached === 0) throw new Inconclusive(`the command ended, and nobody came to the address where ${what}`);
}

function expectFailed({ code, output }: Outcome, what: string): void {
  expect(output === undefined, `no plaintext where ${what}`);
  expect(code !== 0, `another exit code than 0 where ${what}`);
}
