// `x1410 up`: the whole reference stack, started by one command and stopped by Ctrl-C. The stack is loaded only when the command line is
// right.
import { isIP } from "node:net";
import { Command, InvalidArgumentError, Option } from "commander";
import { MAX_REVOCATION_REFRESH_MS } from "../reference/ledger/trust-at-time.ts";
import type { UpOptions } from "./run-stack.ts";

export function upCommand(): Command {
  return new Command("up")
    .description("start the whole reference stack; creates PKI, data directory and two users at first start")
    .option("--data <dir>", "data directory", "x1410-data")
    .option("--host <address>", "address to listen on", hostAddress, "127.0.0.1")
    .option("--base-port <port>", "first of the ports; 0 takes free ones", wholeNumber(0, 65_500), 7410)
    .option("--split", "one process for each entity")
    .option(
      "--ledger-nodes <n>",
      "nodes of the ledger, each in its own process where there are several (default: 1, with --split 3)",
      wholeNumber(1, 16),
    )
    .option(
      "--crl-refresh <seconds>",
      "how often entities fetch revocation lists; at most half of the ledger's grace",
      wholeNumber(1, MAX_REVOCATION_REFRESH_MS / 1000),
      60,
    )
    .addOption(
      new Option("--introspection <mode>", "whether key storage asks token management about each token")
        .choices(["off", "required"])
        .default("off"),
    )
    .option("--token-key-rotation <hours>", "after how long another key signs access tokens", wholeNumber(1, 8_760), 24)
    .option(
      "--kek-rotation <days>",
      "after how long keys are stored under another key-encryption key",
      wholeNumber(1, 3_650),
      90,
    )
    .option(
      "--psk",
      "open ports for users with pre-shared keys; keys are in pre-shared-keys.json of each server's folder",
    )
    .option("--json", "print one line of JSON when ready, for programs")
    .option("--verbose", "log all that the entities do, on standard error; without it, errors alone")
    .action(async (options: UpOptions) => (await import("./run-stack.ts")).runStack(options));
}

function hostAddress(text: string): string {
  // A name has a letter in it: what consists of digits and dots alone is an address that was misspelt.
  const isName = /^(?=.*[a-z])[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/i.test(text);
  if (isIP(text) === 0 && !isName)
    throw new InvalidArgumentError("give an address or a name of this machine, such as 127.0.0.1.");
  return text;
}

function wholeNumber(from: number, to: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < from || value > to)
      throw new InvalidArgumentError(`give a whole number from ${from} to ${to}.`);
    return value;
  };
}
