// A user's side as target: a file that names its commands, or one command, or the reference's own client.
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import type { OpenTarget } from "../commands/open-target.ts";
import { kitVersion } from "../kit-version.ts";
import { allBut, type Pics, readPics } from "../pics.ts";
import { Stage, type StageOptions } from "../stage.ts";
import { type ClientRole, Members, TargetError } from "../target.ts";
import { ClientBench, type ClientSettings, type PerformCommand } from "./client-bench.ts";
import { clientRole, clientRoleNames } from "./client-role.ts";
import {
  type ClientCommand,
  type Commands,
  clientCommands,
  filled,
  mainCommand,
  placeholdersOf,
  referenceCommands,
  type Values,
} from "./command-template.ts";
import { Counterparts } from "./counterparts.ts";

const DEFAULT_COMMAND_SECONDS = 30;

/** The role of a file for a user's side; undefined where the file is one for servers, or cannot be read as YAML. */
export async function clientRoleOf(path: string): Promise<ClientRole | undefined> {
  const stated: unknown = await readFile(path, "utf8")
    .then(parse)
    .catch(() => undefined);
  if (typeof stated !== "object" || stated === null || !("underTest" in stated)) return undefined;
  return clientRole(String([stated.underTest].flat()[0]));
}

/**
 * Reads the target file of a user's side.
 * @throws TargetError naming the member and how to mend it
 */
export async function readClientSettings(path: string): Promise<ClientSettings> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new TargetError(`cannot read the target file ${path} (${cause.code})`);
  });
  const role = await clientRoleOf(path);
  if (role === undefined) throw new TargetError(`${path}: underTest must be one of ${clientRoleNames.join(", ")}`);
  const members = new Members(path, "", parse(text)).allow(["name", "underTest", "commands", "ixit"]);
  const names = Object.keys(clientCommands[role]);
  const stated = members.section("commands", names);
  const commands = Object.fromEntries(
    names.filter((name) => stated.has(name)).map((name) => [name, stated.text(name, /\S/, "a command line")]),
  ) as Commands;
  checkCommands(path, role, commands);
  const ixit = members.has("ixit") ? members.section("ixit", ["commandSeconds"]) : undefined;
  return {
    name: members.optionalText("name") ?? path,
    role,
    commands,
    commandSeconds: ixit?.number("commandSeconds", DEFAULT_COMMAND_SECONDS, 1, 600) ?? DEFAULT_COMMAND_SECONDS,
  };
}

/** A client of which only the main command is known. @throws TargetError */
export function settingsOfCommand(role: ClientRole, command: string): ClientSettings {
  const commands: Commands = { [mainCommand[role]]: command };
  checkCommands("--command", role, commands);
  return { name: command.split(/\s/)[0] ?? command, role, commands, commandSeconds: DEFAULT_COMMAND_SECONDS };
}

/** The reference's own client. */
export function referenceClient(role: ClientRole): ClientSettings {
  const name = `reference ${role === "dp" ? "data provider" : "data consumer"}`;
  return { name, role, commands: referenceCommands(role), commandSeconds: DEFAULT_COMMAND_SECONDS };
}

/** What the reference's client claims. */
export function referenceClientPics(role: ClientRole): Pics {
  return allBut(role, `x1410 reference ${kitVersion()}`, new Set());
}

function checkCommands(place: string, role: ClientRole, commands: Commands): void {
  const main = mainCommand[role];
  if (commands[main] === undefined)
    throw new TargetError(
      `${place}: commands.${main} is missing: ${(clientCommands[role] as Record<string, string>)[main]}`,
    );
  for (const [name, template] of Object.entries(commands)) {
    const values = Object.fromEntries(placeholdersOf(name as ClientCommand).map((one) => [one, "x"])) as Values;
    try {
      filled(template, values);
    } catch (cause) {
      throw new TargetError(`${place}: commands.${name}: ${(cause as Error).message}`);
    }
  }
}

export interface OpenClientOptions extends StageOptions {
  readonly role: ClientRole;
  /** Undefined: `command`, or the reference's own client. */
  readonly file: string | undefined;
  readonly command: string | undefined;
  readonly pics: readonly string[];
  /** Instead of the commands in a shell. */
  readonly perform?: PerformCommand;
}

/**
 * Starts the kit's servers around the client.
 * @throws TargetError, PicsError
 */
export async function openClientTarget(options: OpenClientOptions): Promise<OpenTarget> {
  const { role, file, command, perform, client, seed, recordBytes } = options;
  const settings =
    file !== undefined
      ? await readClientSettings(file)
      : command !== undefined
        ? settingsOfCommand(role, command)
        : referenceClient(role);
  if (settings.role !== role) throw new TargetError(`${file}: underTest is not ${role}`);
  const given = await Promise.all(options.pics.map(readPics));
  const own = file === undefined && command === undefined ? [referenceClientPics(role)] : [];
  const counterparts = await Counterparts.start();
  const bench = new ClientBench(settings, counterparts, perform);
  const target = { ...counterparts.settings, name: settings.name };
  const stage = new Stage(target, undefined, { client, seed, recordBytes }, bench);
  const close = () => {
    stage.disconnect();
    bench.stop();
    return counterparts.close();
  };
  return { stage, pics: given.length > 0 ? given : own, close };
}
