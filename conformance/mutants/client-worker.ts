// A thread in which the reference's commands run with some of their source changed.
import { registerHooks } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import type { Command } from "commander";
import type { ClientMutant, Edit, Order, Told } from "./client-mutant.ts";

const root = new URL("../../", import.meta.url);
const { edits: given, role } = workerData as ClientMutant;
const edits = given.map((edit) => ({ ...edit, url: new URL(edit.file, root).href }));

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const wanted = edits.filter((edit) => edit.url === url);
    if (wanted.length === 0) return loaded;
    const source = Buffer.from(loaded.source as Uint8Array).toString("utf8");
    return { ...loaded, source: wanted.reduce(edited, source) };
  },
});

function edited(source: string, { file, find, instead }: Edit): string {
  const parts = source.split(find);
  if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times what a mutant changes: ${find}`);
  return parts.join(instead);
}

const tell = (told: Told) => parentPort?.postMessage(told);

process.stdout.write = ((chunk: string | Uint8Array, ...rest: unknown[]) => {
  tell({ stdout: Buffer.from(chunk as Uint8Array).toString("utf8") });
  const done = rest.at(-1);
  if (typeof done === "function") done();
  return true;
}) as typeof process.stdout.write;
process.stderr.write = (() => true) as typeof process.stderr.write;

// A change that finds nothing, or leaves what does not parse, would fail every purpose and prove nothing.
const command = await load().catch((cause: unknown) => {
  tell({ fault: textOf(cause) });
  return undefined;
});

parentPort?.on("message", ({ args }: Order) => {
  run(args).then(
    () => tell({ code: 0, stderr: "" }),
    (cause: unknown) => tell({ code: 1, stderr: textOf(cause) }),
  );
});

async function load(): Promise<() => Command> {
  if (role === "dp") return (await import("../../reference/data-provider/cli.ts")).providerCommand;
  return (await import("../../reference/data-consumer/cli.ts")).consumerCommand;
}

/** The first word names the room, which the role has named already. */
async function run([, ...args]: readonly string[]): Promise<void> {
  await command?.().parseAsync(args, { from: "user" });
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
