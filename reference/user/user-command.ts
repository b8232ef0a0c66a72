// What the commands of both kinds of user have in common: whose profile, which state directory, for people or for machines.
import { dirname, join, parse } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseIdentity } from "../../certs/identity.ts";
import { parseContractAddress } from "../communications/address.ts";
import { PreSharedKeyFileError } from "../communications/pre-shared-key-file.ts";
import { UnreachableError, unreachable } from "./connection-diagnosis.ts";
import { readProfile } from "./profile.ts";
import { readPskFile } from "./psk-file.ts";
import { mayPass } from "./repetition.ts";
import { StateDirectory } from "./state-directory.ts";
import { User } from "./user.ts";

export interface UserOptions {
  readonly profile: string;
  readonly state?: string;
  readonly pskFile?: string;
  readonly json?: true;
}

/** A subcommand with the common options. */
export function userVerb(parent: Command, usage: string, description: string): Command {
  const profile = `x1410-data/profiles/${parent.name()}.json`;
  return parent
    .command(usage)
    .description(description)
    .addOption(new Option("--profile <file>", "the user's profile").env("X1410_PROFILE").default(profile))
    .option("--state <dir>", "where journals and positions are kept (default: beside the profile)")
    .option("--psk-file <file>", "reach the servers in this file by pre-shared key, at their ports for that")
    .option("--json", "print JSON, for programs");
}

/** The alert decrypt_error, by which a server says that the binder of a pre-shared key does not verify (RFC 8446, 4.2.11 and 6.2). */
const keyRefused = /alert decrypt error/;

/** Connects as the user of the profile, and closes the connections whatever happens. */
export async function asUser<T>(
  { profile: path, state, pskFile }: UserOptions,
  run: (user: User, state: StateDirectory) => Promise<T>,
): Promise<T> {
  const profile = await readProfile(path);
  const directory = StateDirectory.open(state ?? join(dirname(path), `${parse(path).name}.state`));
  const pskServers = pskFile === undefined ? [] : await readPskFile(pskFile);
  const user = await User.connect(profile, pskServers).catch(async (cause: unknown) => {
    if (!mayPass(cause)) throw cause;
    const byKey = pskServers.find(({ server }) => server === profile.managementIdentity);
    const endpoint = byKey?.endpoint ?? profile.managementEndpoint;
    if (byKey !== undefined && keyRefused.test(cause instanceof Error ? cause.message : ""))
      throw new PreSharedKeyFileError(
        `the management at ${endpoint} refused the key in ${pskFile}: it is not that of the profile's user, or no longer; name the --psk-file that belongs to ${path}`,
      );
    throw byKey === undefined
      ? await unreachable(path, profile, cause)
      : new UnreachableError(`cannot reach the management at ${endpoint}; start it, or name another --psk-file`, {
          cause,
        });
  });
  try {
    return await run(user, directory);
  } finally {
    user.close();
  }
}

/** Runs until it is done, Ctrl-C or SIGTERM asks it to end, or nobody reads any more what it prints. */
export async function untilStopped(run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const end = () => stop.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  process.stdout.once("error", end);
  try {
    await run(stop.signal);
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.removeListener(signal, end);
    process.stdout.removeListener("error", end);
  }
}

/** One line for people. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One line of JSON for machines. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/** An option's argument: a time from now on (90m, 24h, 30d) or of the calendar (RFC 3339). */
export function instant(text: string): Date {
  const [, amount, unit = ""] = /^(\d+)(m|h|d)$/.exec(text) ?? [];
  const at = amount === undefined ? new Date(text) : new Date(Date.now() + Number(amount) * (MS[unit] ?? 0));
  if (Number.isNaN(at.getTime()) || at.getTime() <= Date.now())
    throw new InvalidArgumentError("give a time to come, such as 24h, 30d or 2030-01-31T12:00:00Z.");
  return at;
}

const MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** An option that may be given several times. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

const regionNames = new Intl.DisplayNames("en", { type: "region", fallback: "none" });

/** An option's argument: a country. */
export function country(text: string): string {
  // A code that nobody has been given would let nobody in.
  if (!/^[A-Z]{2}$/.test(text) || regionNames.of(text) === undefined)
    throw new InvalidArgumentError("give a country by its two capital letters (ISO 3166-1 alpha-2), such as CH.");
  return text;
}

export function collectCountry(text: string, before?: readonly string[]): readonly string[] {
  return collect(country(text), before);
}

/** Industries, as the operator of the network has codes for them. */
export function collectIndustry(text: string, before?: readonly string[]): readonly string[] {
  if (!/^[a-z0-9][a-z0-9.:-]{0,63}$/.test(text))
    throw new InvalidArgumentError("give a code in small letters, such as isic:j61.");
  return collect(text, before);
}

export function collectUser(text: string, before?: readonly string[]): readonly string[] {
  return collect(user(text), before);
}

/** An option's argument: the identity of a user. */
export function user(text: string): string {
  if (parseIdentity(text)?.role !== "user")
    throw new InvalidArgumentError("give an identity, such as urn:x1410:user:alice.");
  return text;
}

/** An argument: the address of a contract. */
export function contract(text: string): string {
  try {
    parseContractAddress(text);
  } catch {
    throw new InvalidArgumentError("give the address of a contract, x1410://dlt.NETWORK/contracts/ID with 32 digits.");
  }
  return text;
}

/** An argument: an id, as lists show it. */
export function id(text: string): string {
  if (!/^[0-9a-f]{32}$/.test(text)) throw new InvalidArgumentError("give 32 hexadecimal digits in small letters.");
  return text;
}
