// What an entity's database looked like when it was last closed. A log cut short looks as after a crash; this tells the one from the other.
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { PRIVATE_FILE, readIfPresent, syncDirectory, writeDurably } from "../../certs/durable-file.ts";
import { DatabaseDamage } from "./leveldb-check.ts";

const fileName = "closed.json";

/** Bytes of each log. */
type Statement = Readonly<Record<string, number>>;

/** States what the database in `directory`/db has come to; after it was closed. */
export async function stateClosed(directory: string): Promise<void> {
  const database = join(directory, "db");
  const logs = (await readdir(database)).filter((name) => /^\d+\.log$/.test(name));
  const sizes = await Promise.all(logs.map(async (name) => [name, (await stat(join(database, name))).size]));
  writeDurably(join(directory, fileName), `${JSON.stringify(Object.fromEntries(sizes))}\n`, PRIVATE_FILE);
}

/**
 * Compares with the statement.
 * @returns whether there is one: after a crash there is none
 * @throws DatabaseDamage
 */
export async function checkClosed(directory: string): Promise<boolean> {
  const statement = read(directory);
  for (const [name, size] of Object.entries(statement ?? {})) {
    const now = await stat(join(directory, "db", name)).catch(() => undefined);
    if (now === undefined) throw new DatabaseDamage(`${name} is missing`);
    if (now.size !== size) throw new DatabaseDamage(`${name} has ${now.size} bytes instead of ${size}`);
  }
  return statement !== undefined;
}

/** Withdraws the statement; before the database is opened. */
export async function withdrawClosed(directory: string): Promise<void> {
  await rm(join(directory, fileName), { force: true });
  syncDirectory(directory);
}

function read(directory: string): Statement | undefined {
  const text = readIfPresent(join(directory, fileName))?.toString();
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Statement;
  } catch (cause) {
    throw new DatabaseDamage(`${fileName} beside it is not JSON; remove that file if the database is whole`, { cause });
  }
}
